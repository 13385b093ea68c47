"""What the containers that clone and push a workspace report: failures, lines for the log, warnings."""

from collections.abc import Iterator
from dataclasses import dataclass

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode
from paperclip_claude_k8s.cluster.model import ContainerSnapshot, PodSnapshot, Running
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.relay.git import (
    CLONE_CONTAINER,
    PUSH_CONTAINER,
    CloneReport,
    PushReport,
    read_clone_report,
    read_push_report,
)
from paperclip_claude_k8s.verdict.ending import container_end

_KIB = 1024
_CREDENTIALS = (
    "name a Secret with credentials for this repository in `gitSecret`: keys `username` and `password` "
    "(or `token`) for https, `ssh-privatekey` and `known_hosts` for ssh"
)
_ADDRESS = (
    "check the repository's address; a server may also hide a repository from those who may not read it: "
    "then `gitSecret` has to name a Secret with credentials"
)
_SLOW = "raise `startTimeoutSec`, of which a clone may take two thirds, or use `gitDepth` 1"
_RETRYABLE, _FINAL = True, False
_STEPS_BY_FRAGMENT: tuple[tuple[tuple[str, ...], str, bool], ...] = (
    (("did not end within",), _SLOW, _RETRYABLE),
    (
        ("has no git-lfs", "has no git", "has no ssh"),
        "set `gitImage` to an image that has it, for example one with git and openssh-client",
        _FINAL,
    ),
    (
        ("no known_hosts", "host key", "Host key verification failed"),
        "put the server's host keys, as `ssh-keyscan` prints them, into `known_hosts` of that Secret",
        _FINAL,
    ),
    (
        ("No user exists for uid",),
        "ssh needs a user of this id in the image: set `gitImage` to an image that has one, or use https",
        _FINAL,
    ),
    (("No space left",), "the clone is larger than its volume or the node's disk: use `gitDepth` 1", _FINAL),
    (
        ("certificate", "SSL"),
        "use a `gitImage` that trusts the server's certificate",
        _FINAL,
    ),
    (
        (
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "Permission denied",
            "error: 401",
            "error: 403",
        ),
        _CREDENTIALS,
        _FINAL,
    ),
    (
        ("has no branch or tag", "not our ref", "unadvertised object", "is not a commit"),
        "correct the workspace's version (repoRef), or push it to the repository",
        _FINAL,
    ),
    (
        (
            "not found",
            "does not appear to be a git repository",
            "does not exist",
            "not exported",
            "error: 404",
        ),
        _ADDRESS,
        _FINAL,
    ),
    (
        ("transport '", "not allowed"),
        "use a repository and submodules with https or ssh",
        _FINAL,
    ),
    (
        (
            "Could not resolve host",
            "Couldn't resolve host",
            "Connection refused",
            "timed out",
            "Connection reset",
            "early EOF",
            "unexpected disconnect",
            "RPC failed",
            "hung up",
            "Failed to connect",
            "Couldn't connect",
            "unable to connect",
            "Network is unreachable",
            "error: 5",
            "error: 429",
        ),
        "check that Pods of this namespace can reach the repository's server; retrying may succeed",
        _RETRYABLE,
    ),
)
"""Parts of git's message, the next step, and whether another try may succeed. The first match counts."""
_MEMORY = "the memory limit was exceeded: raise `resources.limits.memory`, or use `gitDepth` 1"
_OTHER_STEP = "resolve what git says, then run the agent again"


def clone_failure(pod: PodSnapshot | None) -> Failure | None:
    """The failure of a Pod that ended because its clone failed; None for any other Pod."""
    end = container_end(pod, CLONE_CONTAINER)
    if end is None or not end.exit_code:
        return None
    why = " ".join(end.message.split()) or f"git-clone ended with exit code {end.exit_code} ({end.reason})"
    text = f"The agent's workspace could not be cloned: {why}"
    if end.reason == "OOMKilled":
        return failures.workspace_unavailable(text, _MEMORY)
    step, retryable = _step_after(why)
    return failures.workspace_unavailable(text, step, retryable=retryable)


def _step_after(why: str) -> tuple[str, bool]:
    """The next step after this message of git, and whether another try may succeed."""
    for fragments, step, retryable in _STEPS_BY_FRAGMENT:
        if any(fragment in why for fragment in fragments):
            return step, retryable
    return _OTHER_STEP, False


def why_not_cloned(pod: PodSnapshot | None, nonce: str) -> str:
    """Why the agent starts without the repository, with the next step, as a clause; "" if it has a clone."""
    report = _clone_report(pod, nonce)
    if report is None or not report.failed:
        return ""
    step, _ = _step_after(report.failed)
    return f"the repository could not be cloned: {report.failed} — {step}"


def describe_clone(pod: PodSnapshot, nonce: str) -> str:
    """A line for the log about the finished clone; "" if no clone was reported."""
    report = _clone_report(pod, nonce)
    if report is None:
        return ""
    if report.failed:
        why = why_not_cloned(pod, nonce)
        return f"Workspace: {without_files(why)} (with `workspace` git, the run would fail)"
    if not report.commit:
        return "Workspace: the repository is empty"
    where = f"branch {report.branch}" if report.branch else "no branch (detached HEAD)"
    reused = ", with objects of an earlier clone" if report.cached else ""
    unkept = "; its objects could not be kept for the next clone" if report.kept is False else ""
    return f"Workspace: cloned {report.commit[:12]}, {where}{reused}{unkept}"


def without_files(why: str) -> str:
    """A clause for an agent that gets no files. `why`: the reason as a clause."""
    return f"the agent starts without the project's files: {why}"


@dataclass(frozen=True, slots=True)
class WorkspaceEnd:
    """What became of a cloned workspace. `report` is None if the pushing container left no report."""

    report: PushReport | None
    not_cloned: str = ""
    """Why the repository was not cloned, with the next step; "" if it was."""

    @property
    def line(self) -> str:
        """What became of the agent's changes, for the log."""
        report = self.report
        if report is None:
            return f"Workspace: {_UNKNOWN}"
        if report.pushed_branch:
            done = f"pushed {report.head[:12]} to branch {report.pushed_branch}"
        elif report.changed:
            done = f"the agent's branch {report.branch or '(detached HEAD)'} was not pushed: {report.why}"
        else:
            done = f"nothing was pushed: {report.why}"
        left = describe_left(report)
        return f"Workspace: {done}{f'; lost with the Pod: {left}' if left else ''}"

    @property
    def is_fine(self) -> bool:
        """Whether all of the agent's work is on the git server."""
        return self.report is not None and self.report.is_complete

    def warnings(self) -> Iterator[RunWarning]:
        if self.not_cloned:
            yield RunWarning(WarningCode.WORKSPACE_NOT_CLONED, without_files(self.not_cloned))
        if not self.is_fine:
            text = self.line.removeprefix("Workspace: ")
            step = _NEXT_STEP if self.report is not None and not self.report.pushed_branch else ""
            yield RunWarning(WarningCode.WORKSPACE_NOT_PUSHED, f"{text}{step}")

    def to_wire(self) -> JsonMap:
        """`resultJson.workspace`. Sizes are in bytes; null: unknown."""
        report = self.report
        common: JsonMap = {"strategy": "git", "cloned": not self.not_cloned}
        if report is None:
            return {**common, "pushed": None}
        return {
            **common,
            "head": report.head or None,
            "branch": report.branch or None,
            "pushed": report.pushed_branch or None,
            "reason": report.why or None,
            "unpushedCommits": report.commits,
            "unpushedBytes": report.bytes,
            "uncommittedFiles": report.files,
            "uncommittedBytes": report.file_bytes,
        }


_UNKNOWN = "it is unknown whether the agent's changes were pushed: its Pod ended before that was reported"
_NEXT_STEP = " — let the agent commit its work, and name a branch in `gitPush`"


def describe_left(report: PushReport) -> str:
    """The commits and files that are only in the Pod, with their size; "" if there are none."""
    parts = (
        _amount(report.commits, "commit", "pushed", report.bytes),
        _amount(report.files, "file", "committed", report.file_bytes),
    )
    return " and ".join(part for part in parts if part)


def _amount(number: int | None, noun: str, done: str, size: int | None) -> str:
    if number is None:
        return f"an unknown number of {noun}s that are not {done}"
    if number == 1:
        return f"1 {noun} that is not {done}{_size(size)}"
    return f"{number} {noun}s that are not {done}{_size(size)}" if number else ""


def _size(size: int | None) -> str:
    if size is None:
        return ""
    if size < _KIB:
        return f" ({size} bytes)"
    return f" ({size / _KIB:.1f} KiB)" if size < _KIB * _KIB else f" ({size / _KIB / _KIB:.1f} MiB)"


def push_container(pod: PodSnapshot | None) -> ContainerSnapshot | None:
    """The pushing container of a Pod; None if the Pod has none."""
    return pod.container(PUSH_CONTAINER) if pod is not None else None


def pushes(pod: PodSnapshot) -> bool:
    """Whether the pushing container of this Pod is running."""
    container = push_container(pod)
    return container is not None and isinstance(container.state, Running)


def push_end(pod: PodSnapshot | None, nonce: str) -> WorkspaceEnd | None:
    """The end of the pushing container; None if it has not ended, or does not exist."""
    end = container_end(pod, PUSH_CONTAINER)
    return WorkspaceEnd(read_push_report(end.message, nonce)) if end is not None else None


def _clone_report(pod: PodSnapshot | None, nonce: str) -> CloneReport | None:
    end = container_end(pod, CLONE_CONTAINER)
    return read_clone_report(end.message, nonce) if end is not None else None
