"""The folder of all records: private, every file written whole or not at all."""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from paperclip_claude_k8s.cli.runs.record import NotARecord, Record, read_record
from paperclip_claude_k8s.cli.runs.words import Stop
from paperclip_claude_k8s.ground.strict_json import strict_json
from paperclip_claude_k8s.host.context import iso
from paperclip_claude_k8s.ports import utc_now

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "record.json"

    @property
    def transcript(self) -> Path:
        """The agent's stdout, byte for byte."""
        return self.folder / "transcript.ndjson"

    @property
    def stderr(self) -> Path:
        """The agent's stderr, byte for byte."""
        return self.folder / "stderr"

    @property
    def log(self) -> Path:
        """What the adapter said, stamped, with the agent's stderr between."""
        return self.folder / "log"

    @property
    def stop(self) -> Path:
        """There once somebody wants the run cancelled."""
        return self.folder / "stop"

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Be the shell that works on this run, for the length of the block; False: another one is.

        The kernel takes the lock from a process that dies, however it dies.
        """
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(handle)


class State:
    """All runs of one user."""

    def __init__(self, folder: Path) -> None:
        """Raises `Stop` where the folder cannot be used."""
        self.folder = folder
        try:
            self._private(self.folder / "runs")
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def files(self, run_id: str) -> RunFiles:
        return RunFiles(self.folder / "runs" / run_id)

    def read(self, run_id: str) -> Record:
        """Raises `Stop`: unknown run, or a record that cannot be read."""
        if not _RUN_ID.fullmatch(run_id) or not self.files(run_id).record.exists():
            hint = "`claude-k8s history` lists those that are known here"
            raise Stop("unknown_run", f"run {run_id} is not known in {self.folder}; {hint}")
        try:
            return read_record(json.loads(self.files(run_id).record.read_text(encoding="utf-8")))
        except (OSError, ValueError, NotARecord) as error:
            why = str(error) if isinstance(error, NotARecord) else f"cannot be read: {error}"
            path = self.files(run_id).record
            raise Stop("record_unreadable", f"the record {path} {why}", run_id=run_id) from None

    def write(self, record: Record) -> Record:
        """Replace the record as a whole; readable by its owner alone. Raises `Stop`."""
        record = replace(record, updated=iso(utc_now()))
        files = self.files(record.run_id)
        try:
            self._private(files.folder)
            write_whole(files.record, strict_json(record.to_json(), indent=2))
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        return record

    def all(self) -> list[Record | Stop]:
        """Every record, the newest first; for one that cannot be read, why."""
        found: list[tuple[str, Record | Stop]] = []
        for folder in (self.folder / "runs").iterdir():
            if not (folder / "record.json").exists():
                continue
            try:
                record = self.read(folder.name)
                found.append((record.created, record))
            except Stop as stop:
                changed = datetime.fromtimestamp(folder.stat().st_mtime, tz=utc_now().tzinfo)
                found.append((iso(changed), stop))
        return [item for _, item in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def _private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (self.folder, folder):
            part.chmod(0o700)


def write_whole(path: Path, content: bytes) -> None:
    """Either all of it is there afterwards, on the disk, or what was there before."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _unwritable(folder: Path, error: OSError) -> Stop:
    why = error.strerror or str(error)
    return Stop("state_unwritable", f"{folder} cannot be used: {why}; set CLAUDE_K8S_STATE_DIR to a folder")
