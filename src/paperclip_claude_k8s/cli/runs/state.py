"""The state folder: one folder per run, readable by its owner only; each record is replaced atomically."""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.runs.disk import REAL_DISK, Disk
from paperclip_claude_k8s.cli.runs.record import Record, RecordInvalid, read_record
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.ports import utc_now

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def state_folder(env: Mapping[str, str]) -> Path:
    """`$CLAUDE_K8S_STATE_DIR`, else `claude-k8s` in `$XDG_STATE_HOME`, which defaults to `~/.local/state`.

    Earlier versions ignored XDG_STATE_HOME. Therefore the folder below `~/.local/state` is used if it exists
    and the other does not.
    """
    if named := env.get("CLAUDE_K8S_STATE_DIR", "").strip():
        return Path(named).expanduser().absolute()
    default = Path(env.get("HOME") or "/", ".local", "state", "claude-k8s").absolute()
    base = Path(env.get("XDG_STATE_HOME", "").strip())
    if not base.is_absolute():  # the XDG specification requires that relative paths are ignored
        return default
    folder = base / "claude-k8s"
    return default if default.exists() and not folder.exists() else folder


def devcluster_folder(env: Mapping[str, str]) -> Path:
    """Folder of the development cluster that `devcluster up` starts."""
    return state_folder(env) / "devcluster"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run."""

    folder: Path
    disk: Disk = REAL_DISK

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
        """The adapter's status lines with timestamps, and between them the agent's stderr, with bars."""
        return self.folder / "log"

    @property
    def cancel_request(self) -> Path:
        """The file whose existence requests to cancel the run."""
        return self.folder / "stop"

    @contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Hold the run's lock for the duration of the block. Yields False if another process holds it.

        The kernel releases the lock when the process ends, however it ends. Raises `Stop`.
        """
        try:
            handle = self._open_lock()
        except OSError as error:
            raise state_error(self.folder, error) from None
        try:
            yield _flock(handle, self.folder)
        finally:
            os.close(handle)

    def _open_lock(self) -> int:
        """Open the lock file, read-only if need be: calls that only read must work on a full disk."""
        path = self.folder / "lock"
        try:
            return self.disk.open(path)
        except OSError:
            if path.exists():
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            raise


def _flock(handle: int, folder: Path) -> bool:
    """Try to take the lock; returns whether it was free. Raises `Stop` if the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise state_error(folder, error) from None
    return True


class State:
    """All runs of one user."""

    def __init__(self, folder: Path, disk: Disk = REAL_DISK) -> None:
        """Raises `Stop` if the folder cannot be used."""
        self.folder = folder
        self.disk = disk
        try:
            self._make_private(self.folder / "runs")
        except OSError as error:
            raise state_error(self.folder, error, "set CLAUDE_K8S_STATE_DIR to a folder") from None

    def files(self, run_id: str) -> RunFiles:
        return RunFiles(self.folder / "runs" / run_id, self.disk)

    def run_ids(self) -> list[str]:
        """Ids of all runs that have a record, unsorted. Raises `Stop`."""
        try:
            folders = (folder for folder in (self.folder / "runs").iterdir())
            return [folder.name for folder in folders if _exists(folder / "record.json")]
        except OSError as error:
            raise state_error(self.folder, error) from None

    def read(self, run_id: str) -> Record:
        """The record of the run. Raises `Stop` if the run is unknown or its record cannot be read."""
        if not _RUN_ID.fullmatch(run_id) or not _exists(self.files(run_id).record):
            hint = "`claude-k8s history` lists the known runs"
            raise Stop("unknown_run", f"run {run_id} is not known in {self.folder}; {hint}")
        path = self.files(run_id).record
        try:
            return read_record(json.loads(path.read_text(encoding="utf-8")))
        except RecordInvalid as error:
            reason = str(error)
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error}"
        raise Stop("record_unreadable", f"the record {path} {reason}", run_id=run_id)

    def write(self, record: Record) -> Record:
        """Save the record with a new `updated`, and return it. Raises `Stop`."""
        record = replace(record, updated=format_time(utc_now()))
        files = self.files(record.run_id)
        try:
            self._make_private(files.folder)
            write_atomically(files.record, strict_json(record.to_json(), indent=2), self.disk)
        except OSError as error:
            raise state_error(self.folder, error) from None
        return record

    def request_cancel(self, run_id: str) -> None:
        """Request that the process that works on the run cancels the run. Raises `Stop`."""
        try:
            os.close(self.disk.open(self.files(run_id).cancel_request))
        except OSError as error:
            raise state_error(self.folder, error) from None

    def all(self) -> list[Record | Stop]:
        """Every record, newest first. An unreadable record is replaced by the reason. Raises `Stop`."""
        try:
            return self._all()
        except OSError as error:
            raise state_error(self.folder, error) from None

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

    def _make_private(self, folder: Path) -> None:
        self.disk.make_folder(folder)
        for part in (self.folder, folder):
            self.disk.make_private(part)


def write_atomically(path: Path, content: bytes, disk: Disk) -> None:
    """Replace the file's content and sync it to disk. On failure the file is unchanged. Raises `OSError`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = disk.open(temporary, new=True)
    try:
        try:
            disk.write_at(handle, content, 0)
            disk.sync(handle)  # before the rename: else a power cut could leave an empty file at `path`
        finally:
            os.close(handle)
        disk.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _exists(path: Path) -> bool:
    """Whether the path exists. True if access is denied: reading the path then raises with the reason."""
    try:
        return path.exists()
    except OSError:
        return True


def state_error(folder: Path, error: OSError, next_step: str = "") -> Stop:
    """The `Stop` for a folder that cannot be used. `next_step`: what the user can do about it."""
    detail = f"{folder} cannot be used: {error.strerror or error}"
    return Stop("state_unwritable", f"{detail}; {next_step}" if next_step else detail)
