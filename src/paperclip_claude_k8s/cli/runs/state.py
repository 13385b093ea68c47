"""The folder of all records: private, every file written whole or not at all."""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.runs.disk import DISK, Disk
from paperclip_claude_k8s.cli.runs.record import NotARecord, Record, read_record
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.ports import utc_now

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run."""

    folder: Path
    disk: Disk = DISK

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

        The kernel takes the lock from a process that dies, however it dies. Raises `Stop`.
        """
        try:
            handle = self._opened_lock()
        except OSError as error:
            raise unwritable(self.folder, error) from None
        try:
            yield _is_taken(handle, self.folder)
        finally:
            os.close(handle)

    def _opened_lock(self) -> int:
        """To read only where nothing can be written: who only looks needs no room."""
        path = self.folder / "lock"
        try:
            return self.disk.open(path)
        except OSError:
            if path.exists():
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            raise


def _is_taken(handle: int, folder: Path) -> bool:
    """Whether the lock is ours now. Raises `Stop` where the file system has none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise unwritable(folder, error) from None
    return True


class State:
    """All runs of one user."""

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        """Raises `Stop` where the folder cannot be used."""
        self.folder = folder
        self.disk = disk
        try:
            self._private(self.folder / "runs")
        except OSError as error:
            raise unwritable(self.folder, error, "set CLAUDE_K8S_STATE_DIR to a folder") from None

    def files(self, run_id: str) -> RunFiles:
        return RunFiles(self.folder / "runs" / run_id, self.disk)

    def read(self, run_id: str) -> Record:
        """Raises `Stop`: unknown run, or a record that cannot be read."""
        if not _RUN_ID.fullmatch(run_id) or not _exists(self.files(run_id).record):
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
        record = replace(record, updated=format_time(utc_now()))
        files = self.files(record.run_id)
        try:
            self._private(files.folder)
            write_whole(files.record, strict_json(record.to_json(), indent=2), self.disk)
        except OSError as error:
            raise unwritable(self.folder, error) from None
        return record

    def wish_stopped(self, run_id: str) -> None:
        """Leave word for whoever works on the run that it shall be cancelled. Raises `Stop`."""
        try:
            os.close(self.disk.open(self.files(run_id).stop))
        except OSError as error:
            raise unwritable(self.folder, error) from None

    def all(self) -> list[Record | Stop]:
        """Every record, the newest first; for one that cannot be read, why. Raises `Stop`."""
        try:
            return self._all()
        except OSError as error:
            raise unwritable(self.folder, error) from None

    def _all(self) -> list[Record | Stop]:
        found: list[tuple[str, Record | Stop]] = []
        for folder in (self.folder / "runs").iterdir():
            if not _exists(folder / "record.json"):
                continue
            try:
                record = self.read(folder.name)
                found.append((record.created, record))
            except Stop as stop:
                changed = datetime.fromtimestamp(folder.stat().st_mtime, tz=utc_now().tzinfo)
                found.append((format_time(changed), stop))
        return [item for _, item in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def _private(self, folder: Path) -> None:
        self.disk.make_folder(folder)
        for part in (self.folder, folder):
            self.disk.make_private(part)


def write_whole(path: Path, content: bytes, disk: Disk) -> None:
    """Either all of it is there afterwards, on the disk, or what was there before. Raises `OSError`."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = disk.open(beside, new=True)
    try:
        try:
            disk.write_at(handle, content, 0)
            disk.sync(handle)
        finally:
            os.close(handle)
        disk.replace(beside, path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _exists(path: Path) -> bool:
    """Also where it may not be looked at: then reading it tells why."""
    try:
        return path.exists()
    except OSError:
        return True


def unwritable(folder: Path, error: OSError, step: str = "") -> Stop:
    """`step`: what to do, where that is not plain from what became of the run."""
    why = f"{folder} cannot be used: {error.strerror or error}"
    return Stop("state_unwritable", f"{why}; {step}" if step else why)
