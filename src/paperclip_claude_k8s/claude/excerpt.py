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

    def __str__(self) -> str:
        tail = bytes(self._tail[-TAIL_BYTES:])
        left_out = self.bytes - len(self._head) - len(tail)
        if not left_out:
            return (self._head + tail).decode("utf-8", "replace")
        note = f"\n[... {left_out} bytes left out ...]\n"
        return self._head.decode("utf-8", "replace") + note + tail.decode("utf-8", "replace")
