"""Signals that end a command: after the first signal, the command prints its reply and ends by the signal."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a request to terminate, and a closed terminal."""


class Interrupted(BaseException):
    """A signal arrived while no listener was set. The text of this exception is the signal's name."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class SignalHandler:
    """After `install`, the first ending signal goes to the listener; later ones are ignored.

    Without a listener, the first ending signal is raised as `Interrupted`.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        """Number of the first ending signal."""
        self._listener: Callable[[int], None] | None = None
        self._ignoring = False

    def install(self) -> None:
        for signum in ENDING_SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP; keep that
                signal.signal(signum, self._handle)

    @contextmanager
    def listener(self, listener: Callable[[int], None]) -> Iterator[None]:
        """Pass the first signal to `listener` during the block. Python calls it in the main thread."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def ignore_signals(self) -> None:
        """Ignore signals from now on, because the reply is being printed. They still set `received`."""
        self._ignoring = True

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        is_first, self.received = self.received is None, self.received or signum
        if self._ignoring or not is_first:
            return
        if self._listener is None:
            raise Interrupted(signum)
        self._listener(signum)


def reraise_signal(signum: int) -> Never:
    """End this process by the signal: the shell sees 128 + n, and Ctrl-C also ends a loop of commands."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    sys.exit(128 + signum)  # reached only if the signal is blocked


SIGNAL_HANDLER = SignalHandler()
"""The handler of this process."""
