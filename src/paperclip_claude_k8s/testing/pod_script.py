"""What the Pods of a cluster in memory do."""

from dataclasses import dataclass

from paperclip_claude_k8s.testing.capture_files import capture

SUCCESS = "02-tools-multiblock"
"""Name of the capture of a run that succeeded after several calls of tools."""


@dataclass(frozen=True, slots=True)
class PodScript:
    """What a scheduled Pod does as soon as its Secrets exist.

    Every time is in seconds from the start of the agent's container.
    """

    waiting: tuple[tuple[float, str, str], ...] = ()
    """(seconds, reason, message) of each waiting state before the container starts."""
    output: tuple[tuple[float, bytes], ...] = ()
    """(time, bytes) of each write to stdout."""
    ends_at: float = 1.0
    """Time at which the container exits."""
    exit_code: int = 0
    """Exit code if the container exits at `ends_at`."""
    reason: str = ""
    """Reason in the terminated state; "": Completed or Error, by the exit code."""
    on_sigterm: int | None = 143
    """Exit code after SIGTERM; None: the container ignores SIGTERM until it is killed."""
    stops_in: float = 0.1
    """Seconds from SIGTERM to the exit; without effect if the container ignores SIGTERM."""
    shown_after: float = 0.0
    """Time at which the Pod's status begins to show the container's start; the log can be read earlier."""
    evicted_at: float | None = None
    """Time of the Pod's eviction, which replaces the exit at `ends_at`; None: no eviction."""
    changes: bytes = b""
    """What the container beside the agent's prints about an uploaded folder, when the agent has ended."""
    others_run: bool = False
    """Whether other containers go on after the agent's end, so that the Pod runs until it is deleted."""
    pushed: str = ""
    """Termination message of the container that pushes a cloned workspace, when the agent has ended."""
    summarized: bool = True
    """Whether the relay writes its summary to the termination message."""

    @classmethod
    def replaying(cls, stdout: bytes, *, exit_code: int = 0, seconds: float = 2.0) -> "PodScript":
        """A Pod that prints `stdout` at once, and exits after `seconds`."""
        return cls(output=((0.0, stdout),), ends_at=seconds, exit_code=exit_code)

    @classmethod
    def succeeding(cls, seconds: float = 2.0) -> "PodScript":
        """A Pod that prints a recorded run at once, and exits with code 0 after `seconds`."""
        return cls.replaying(capture(SUCCESS), seconds=seconds)

    @classmethod
    def working(cls, seconds: float) -> "PodScript":
        """A Pod that prints a recorded run: all but its result at once, and the result after `seconds`."""
        stdout = capture(SUCCESS)
        start = stdout.index(b'{"type":"result"')
        return cls(output=((0.0, stdout[:start]), (seconds, stdout[start:])), ends_at=seconds + 1.0)
