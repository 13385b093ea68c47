"""The beginning of a line whose end has not arrived yet."""

from paperclip_claude_k8s.base.settings import LIMITS


class PartialLine:
    """Keeps the pieces of a line. Pieces beyond `Limits.log_line_bytes` are dropped."""

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
        """Return what was kept of the line, and begin a new line."""
        line, self._pieces, self._size = b"".join(self._pieces), [], 0
        return line
