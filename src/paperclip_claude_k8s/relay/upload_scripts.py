"""The scripts that unpack an uploaded folder and print its changes, and the format of what they print.

`upload_unpack.sh` runs in an init container, as does `skills_unpack.sh`, which unpacks skills.
`upload_return.sh` runs in a container beside the agent's, and prints the changes to its log when the agent
has ended:

    paperclip-changes BYTES SHA256     how long the packed changes are
    0 BASE64                           line n: the bytes from n * LINE_BYTES on
    1 BASE64
    paperclip-changes end

or `paperclip-changes failed TEXT`. The packed changes are gzipped: lines about files, the line `.`, and the
contents of the files of all `f` lines in the same order, one directly after the other.

    f BASE NEW x|- SIZE ./PATH         a new or changed file: sha256 before (`-`: new) and now
    d BASE ./PATH                      a deleted file
    left KIND COUNT                    number of files of this kind that stay in the Pod
"""

import binascii
import re
import threading
from dataclasses import dataclass, field
from typing import BinaryIO

from paperclip_claude_k8s.relay import script

UNPACK_CONTAINER, RETURN_CONTAINER = "workspace-unpack", "workspace-return"
SKILLS_CONTAINER = "skills-unpack"
_SCRIPTS = {
    UNPACK_CONTAINER: ("parts.sh", "upload_unpack.sh"),
    SKILLS_CONTAINER: ("parts.sh", "skills_unpack.sh"),
    RETURN_CONTAINER: ("await_agent.sh", "upload_return.sh"),
}
"""Container → the scripts that it runs as one."""
PREFIX = "PAPERCLIP_UPLOAD_"
"""Prefix of the variables that the scripts read."""
PIPE = "alive"
"""Name of the pipe in the folder that the containers share, see `relay.ALIVE`."""
SUMS, LINKS = ".paperclip-sums", ".paperclip-links"
"""Top entries of the packed folder: a line `SHA256 x|- ./PATH` for each file, and the path of each link."""
LINE_BYTES = 3420
"""Bytes of the packed changes in each printed line but the last: 60 lines of `base64`, each of 57 bytes."""
_BEGIN = re.compile(rb"paperclip-changes ([0-9]{1,12}) ([0-9a-f]{64})")
_FAILED = re.compile(rb"paperclip-changes failed ([ -~]{0,300})")
_DATA = re.compile(rb"([0-9]{1,9}) ([A-Za-z0-9+/=]{1,4600})")


def command(container: str) -> list[str]:
    """The command of a container."""
    return ["sh", "-c", "".join(map(script, _SCRIPTS[container]))]


@dataclass(slots=True)
class PrintedChanges:
    """Assembles the packed changes in a file, from printed lines that may be missing, repeated or cut."""

    file: BinaryIO
    limit: int
    """Largest number of bytes that is accepted."""
    size: int | None = None
    """Bytes of the packed changes; None until the first line was read."""
    sha256: str = ""
    failure: str = ""
    """Why the container cannot print the changes; "" if it can."""
    _have: bytearray = field(default_factory=bytearray)
    """For each line: 1 if it was read, else 0."""
    _missing: int = 0
    """Number of lines that were not read yet."""
    _rest: bytes = b""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while lines are read, because a thread that nobody awaits any more may still call `feed`."""
    _closed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all lines were read, or none can follow."""
        return bool(self.failure) or (self.size is not None and self._missing == 0)

    def feed(self, data: bytes) -> None:
        """Read bytes of the log, whose lines begin with a time. Blocks, because it writes to the file."""
        with self._lock:
            if self._closed:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-16_384:]
            for line in lines:
                self._read(line.partition(b" ")[2])

    def finish(self) -> None:
        """Ignore later calls of `feed`. Blocks until a running call has ended."""
        with self._lock:
            self._closed = True

    def restart(self) -> None:
        """Forget a partial line, because the log is going to be read from its beginning again."""
        self._rest = b""

    def _read(self, line: bytes) -> None:
        if found := _BEGIN.fullmatch(line):
            self._begin(int(found[1]), found[2].decode())
        elif found := _FAILED.fullmatch(line):
            self.failure = self.failure or found[1].decode() or "no reason was given"
        elif self.size is not None and (found := _DATA.fullmatch(line)):
            self._store(int(found[1]), found[2])

    def _begin(self, size: int, sha256: str) -> None:
        if self.size is None and size > self.limit:
            self.failure = f"they have {size} bytes when they are packed, and the limit is {self.limit}"
        elif self.size is None:
            self.size, self.sha256 = size, sha256
            self._missing = -(-size // LINE_BYTES)
            self._have = bytearray(self._missing)

    def _store(self, number: int, text: bytes) -> None:
        if number >= len(self._have) or self._have[number]:
            return
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            return
        assert self.size is not None  # noqa: S101  # there are lines only if it is known
        if len(data) != min(LINE_BYTES, self.size - number * LINE_BYTES):
            return
        self.file.seek(number * LINE_BYTES)
        self.file.write(data)
        self._have[number] = 1
        self._missing -= 1
