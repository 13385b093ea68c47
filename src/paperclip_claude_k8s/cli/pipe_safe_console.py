"""A console whose reader may end: rich's own would end this process, and with it the wait for a run."""

from typing import Never

from rich.console import Console


class PipeSafeConsole(Console):
    """Raises `BrokenPipeError` if the reader of its pipe has ended, as any other file does."""

    def on_broken_pipe(self) -> Never:
        self._buffer.clear()  # else it would be written again with the next text
        raise BrokenPipeError
