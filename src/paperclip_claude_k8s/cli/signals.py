"""Signals that end a shell: heard once, answered with one JSON object, and died of in the end."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, an orderly end, and the terminal that was closed."""


class Interrupted(BaseException):
    """A signal came while nobody waited for it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Signals:
    """From `install` on, an ending signal is told to the listener, or raised where there is none."""

    def __init__(self) -> None:
        self.seen: int | None = None
        self._listener: Callable[[int], None] | None = None
        self._deaf = False

    def install(self) -> None:
        for signum in ENDING:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup wishes
                signal.signal(signum, self._hear)

    @contextmanager
    def told_to(self, listener: Callable[[int], None]) -> Iterator[None]:
        """For the length of the block; it runs between two bytecodes of the main thread."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def stop_hearing(self) -> None:
        """The answer is being printed: it is to be printed whole, once."""
        self._deaf = True

    def _hear(self, signum: int, _frame: FrameType | None) -> None:
        again, self.seen = self.seen is not None, self.seen or signum
        if self._deaf or again:
            return
        if self._listener is None:
            raise Interrupted(signum)
        self._listener(signum)


def reraise_signal(signum: int) -> Never:
    """As whoever waits for us expects: `$?` is 128 + n, and a Ctrl-C ends the loop around us too."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    sys.exit(128 + signum)  # the signal was blocked


SIGNALS = Signals()
"""Those of this process."""
