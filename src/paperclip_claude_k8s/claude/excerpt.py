"""Keeps the beginning and the end of an output of any length."""

HEAD_BYTES = 4 * 1024
TAIL_BYTES = 60 * 1024


class Excerpt:
    """Keeps the first 4 KiB and the last 60 KiB of the output.

    The tail is a list of blocks as they arrived and is joined only on demand, so that adding a block is
    cheap.
    """

    def __init__(self) -> None:
        self.bytes = 0
        """Length of everything that was added."""
        self._head = b""
        self._tail: list[bytes] = []
        self._tail_bytes = 0

    def add(self, block: bytes) -> None:
        self.bytes += len(block)
        missing = HEAD_BYTES - len(self._head)
        if missing:
            self._head += block[:missing]
            block = block[missing:]
            if not block:
                return
        block = block[-TAIL_BYTES:]
        self._tail.append(block)
        self._tail_bytes += len(block)
        dropped = 0
        while self._tail_bytes - len(self._tail[dropped]) >= TAIL_BYTES:
            self._tail_bytes -= len(self._tail[dropped])
            dropped += 1
        del self._tail[:dropped]

    def __bytes__(self) -> bytes:
        """Head and tail, with a note between them if bytes were left out."""
        tail = b"".join(self._tail)[-TAIL_BYTES:]
        left_out = self.bytes - len(self._head) - len(tail)
        note = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
        return self._head + note + tail
