"""What the Pods of a cluster in memory do."""

from dataclasses import dataclass

from paperclip_claude_k8s.testing.capture_files import capture

SUCCESS = "02-tools-multiblock"
"""Name of the capture of a run that succeeded after several calls of tools."""


@dataclass(frozen=True, slots=True)
class PodScript:
    """What a scheduled Pod does as soon as its Secrets exist. Times count from its container's start."""

    waiting: tuple[tuple[float, str, str], ...] = ()
    """(seconds, reason, message) of each waiting state before the container starts."""
    output: tuple[tuple[float, bytes], ...] = ()
    """(time, bytes) on stdout."""
    ends_at: float = 1.0
    """Time of its exit."""
    exit_code: int = 0
    """Exit code with which it ends at `ends_at`."""
    reason: str = ""
    """Reason in the terminated state; "": Completed or Error, by the exit code."""
    on_sigterm: int | None = 143
    """Exit code after SIGTERM; None: it ignores SIGTERM until it is killed."""
    stops_in: float = 0.1
    """Seconds from SIGTERM to its exit; without effect if it ignores SIGTERM."""
    shown_after: float = 0.0
    """Seconds from the container's start until the Pod's status shows that; the log can be read at once."""
    evicted_at: float | None = None
    """Time of its eviction, in place of `ends_at`."""
    changes: bytes = b""
    """What the container beside the agent prints about an uploaded folder, when the agent has ended."""
    pushed: str = ""
    """Termination message of the container that pushes a cloned workspace, when the agent has ended."""
    summarized: bool = True
    """The relay writes its summary to the termination message."""

    @classmethod
    def replaying(cls, stdout: bytes, *, exit_code: int = 0, seconds: float = 2.0) -> "PodScript":
        """A Pod that prints this output at once, and exits after this time."""
        return cls(output=((0.0, stdout),), ends_at=seconds, exit_code=exit_code)

    @classmethod
    def succeeding(cls, seconds: float = 2.0) -> "PodScript":
        """A Pod that prints a recorded run at once, and exits with code 0 after this time."""
        return cls.replaying(capture(SUCCESS), seconds=seconds)

    @classmethod
    def working(cls, seconds: float) -> "PodScript":
        """A Pod that prints a recorded run: all but its result at once, and the result after this time."""
        stdout = capture(SUCCESS)
        start = stdout.index(b'{"type":"result"')
        return cls(output=((0.0, stdout[:start]), (seconds, stdout[start:])), ends_at=seconds + 1.0)
