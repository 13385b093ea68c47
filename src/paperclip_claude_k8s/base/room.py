"""Room for a limited number of bytes, which several runs share in the order in which they ask for it."""

import asyncio
from collections import deque
from typing import Self


class Room:
    """Grants shares of `limit` bytes, first come, first served: small shares do not overtake a large one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> "Share":
        """Wait until `size` bytes are free. A share above the limit is granted if it is the only one."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._grant()  # it may have kept smaller shares waiting
            else:
                self.give_back(size)
            raise
        return Share(self, size)

    def take_now(self, size: int) -> "Share":
        """Take a share at once, even above the limit: its bytes are in use already."""
        self.used += size
        return Share(self, size)

    def has_space(self, size: int) -> bool:
        """Whether a share of `size` bytes would be granted at once."""
        return not self._waiting and (not self.used or self.used + size <= self.limit)

    def give_back(self, size: int) -> None:
        self.used -= size
        self._grant()

    def _grant(self) -> None:
        while self._waiting and (not self.used or self.used + self._waiting[0][0] <= self.limit):
            size, turn = self._waiting.popleft()
            self.used += size
            turn.set_result(None)


class Share:
    """A part of a `Room`. It ends with `release` (idempotent), or at the end of a `with` block."""

    def __init__(self, room: Room | None = None, size: int = 0) -> None:
        """Without arguments: a share of nothing."""
        self._room = room
        self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def shrink(self, size: int) -> None:
        """Give back all but `size` bytes."""
        if self._room is not None and size < self._size:
            surplus, self._size = self._size - size, size
            self._room.give_back(surplus)

    def hand_over(self) -> "Share":
        """Move the bytes to a new share and return it: this one no longer gives them back at its end."""
        other = Share(self._room, self._size)
        self._room = None
        return other

    def release(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.give_back(self._size)
