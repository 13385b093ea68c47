"""The beginning of a line whose end has not arrived yet."""

from paperclip_claude_k8s.base.settings import LIMITS


class PartialLine:
    """Keeps the pieces of a line. From the piece on that exceeds `Limits.log_line_bytes`, all are dropped."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def __bool__(self) -> bool:
        return self._size > 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if piece and self._size <= LIMITS.log_line_bytes:
            self._pieces.append(piece)

    def take(self) -> bytes:
        """Return the line so far, and begin a new one."""
        line, self._pieces, self._size = b"".join(self._pieces), [], 0
        return line
