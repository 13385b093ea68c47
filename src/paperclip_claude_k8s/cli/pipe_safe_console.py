"""A console whose pipe may be closed. `Console` of `rich` would end the process, which may wait for a run."""

from typing import Never

from rich.console import Console


class PipeSafeConsole(Console):
    """A console that raises `BrokenPipeError` if the reader has closed the pipe, as any other file does."""

    def on_broken_pipe(self) -> Never:
        self._buffer.clear()  # else its content would be written again with the next text
        raise BrokenPipeError
