"""The beginning and the end of an output of any length."""

HEAD_BYTES = 4 * 1024
TAIL_BYTES = 60 * 1024


class Excerpt:
    """Keeps the first 4 KiB and the last 60 KiB (SPEC 5)."""

    def __init__(self) -> None:
        self.bytes = 0
        self._head = b""
        self._tail = bytearray()

    def add(self, block: bytes) -> None:
        self.bytes += len(block)
        taken = HEAD_BYTES - len(self._head)
        if taken:
            self._head += block[:taken]
            block = block[taken:]
        self._tail += block[-TAIL_BYTES:]
        if len(self._tail) > 2 * TAIL_BYTES:  # rarely, or small pieces would each cost a copy
            del self._tail[:-TAIL_BYTES]

    def __bytes__(self) -> bytes:
        tail = self._tail[-TAIL_BYTES:]
        left_out = self.bytes - len(self._head) - len(tail)
        note = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
        return self._head + note + tail
