"""A console whose reader may end. The console of `rich` would end this process, and so the wait for a run."""

from typing import Never

from rich.console import Console


class PipeSafeConsole(Console):
    """A console that raises `BrokenPipeError` if the reader of its pipe has ended, as any other file does."""

    def on_broken_pipe(self) -> Never:
        self._buffer.clear()  # else its content would be written again with the next text
        raise BrokenPipeError
