"""Packed changes of an uploaded workspace, as its Pod prints them, and as a hostile Pod could print them."""

import gzip
import hashlib
import io
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.base.work_limit import WorkLimit
from paperclip_claude_k8s.relay.upload_scripts import LINE_BYTES
from paperclip_claude_k8s.volume.change_applying import Applied, apply_changes
from paperclip_claude_k8s.volume.ignore_files import IgnoreRules

ANYWHERE = FolderRule(("/",))
LIMIT = 1024 * 1024
"""Most bytes of changes that are applied."""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def file_line(path: str, text: str, base: str | None = None, mode: str = "-") -> str:
    """The line of one file in the list of changes. `base`: its text before the change; None: it is new."""
    before = sha256(base) if base is not None else "-"
    return f"f {before} {sha256(text)} {mode} {len(text.encode(errors='surrogateescape'))} ./{path}"


def packed(lines: Iterable[str], *contents: str) -> BinaryIO:
    """The list of changes with these lines, and then the contents of the files, compressed."""
    end_of_list = "."
    text = "".join(f"{line}\n" for line in (*lines, end_of_list)) + "".join(contents)
    return io.BytesIO(gzip.compress(text.encode(errors="surrogateescape")))


def printed(changes: BinaryIO) -> bytes:
    """What `upload_return.sh` prints for these changes."""
    data = changes.read()
    starts = range(0, len(data), LINE_BYTES)
    lines = [b64encode(data[start : start + LINE_BYTES]).decode() for start in starts]
    numbered = "".join(f"{number} {line}\n" for number, line in enumerate(lines))
    head = f"paperclip-changes {len(data)} {hashlib.sha256(data).hexdigest()}\n"
    return f"{head}{numbered}paperclip-changes end\n".encode()


def apply(
    folder: Path,
    changes: BinaryIO,
    limit: int = LIMIT,
    ignore: IgnoreRules | None = None,
    work: WorkLimit | None = None,
) -> Applied:
    rules = ignore or IgnoreRules()
    return apply_changes(str(folder), ANYWHERE, changes, limit, rules, work or WorkLimit(60))


def tree(folder: Path) -> dict[str, str]:
    """Path → text of each file, or `-> target` of each link."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes().decode(errors="surrogateescape")
    return found


def write_tree(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def slow_patterns() -> str:
    """Ignore patterns that together take 0.2 s for one file name that consists of the letter a only."""
    return "\n".join("*a" * 60 + f"b{number:04d}" for number in range(2000))
