"""The beginning and the end of an output of any length."""

HEAD_BYTES = 4 * 1024
TAIL_BYTES = 60 * 1024


class Excerpt:
    """Keeps the first 4 KiB and the last 60 KiB (SPEC 5): blocks as they came, until it is asked for."""

    def __init__(self) -> None:
        self.bytes = 0
        self._head = b""
        self._tail: list[bytes] = []
        self._kept = 0

    def add(self, block: bytes) -> None:
        self.bytes += len(block)
        taken = HEAD_BYTES - len(self._head)
        if taken:
            self._head += block[:taken]
            block = block[taken:]
            if not block:
                return
        block = block[-TAIL_BYTES:]
        self._tail.append(block)
        self._kept += len(block)
        gone = 0
        while self._kept - len(self._tail[gone]) >= TAIL_BYTES:
            self._kept -= len(self._tail[gone])
            gone += 1
        del self._tail[:gone]

    def __bytes__(self) -> bytes:
        tail = b"".join(self._tail)[-TAIL_BYTES:]
        left_out = self.bytes - len(self._head) - len(tail)
        note = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
        return self._head + note + tail
