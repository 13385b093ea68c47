"""What could not be executed, according to shells, dynamic loaders and container runtimes."""

import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.objects import a_job, a_pod

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    Known,
    PodSnapshot,
    Terminated,
    Waiting,
)
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.ending import Exited, NotStarted, judge_ending
from paperclip_claude_k8s.verdict.not_executable import missing_command, why_not_executable
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.start import (
    LostBeforeStart,
    NeverStarts,
    StillWaiting,
    judge_start,
    never_began,
)

MESSAGES = tomllib.loads(Path(__file__).with_name("not_executable_messages.toml").read_text(encoding="utf-8"))


def rows(table: str) -> pytest.MarkDecorator:
    found = MESSAGES[table]
    return pytest.mark.parametrize(("line", "why"), [(row["line"], row["why"]) for row in found])


@rows("shell")
def test_line_of_a_shell_or_loader_names_what_is_missing(line: str, why: str) -> None:
    assert why_not_executable(["warning: setlocale: cannot change locale (xx)", line]) == (line, why)


@rows("runtime")
def test_message_of_a_runtime_names_what_is_missing(line: str, why: str) -> None:
    assert missing_command(line) == why


@pytest.mark.parametrize("line", MESSAGES["other"]["runtime"])
def test_other_message_of_a_runtime_names_no_command(line: str) -> None:
    assert missing_command(line) == ""


def test_long_hostile_line_is_searched_in_linear_time() -> None:
    began = time.process_time()
    for line in ("a" * 10**6, "a:" * 10**6, "exec " * 10**6, ": " * 10**6):
        why_not_executable([line] * 20)
    assert time.process_time() - began < 2


NO_SHELL, NO_SHELL_WITH_CRUN = MESSAGES["runtime"][0]["line"], MESSAGES["runtime"][4]["line"]
NODE_TROUBLE = MESSAGES["other"]["runtime"][1]
"""A message about a fault of the node, which may pass."""


def failed_to_start(message: str, **more: object) -> PodSnapshot:
    return a_pod(Terminated(128, "StartError", message), phase="Failed", **more)


@pytest.mark.parametrize("log_opened", [False, True])
@pytest.mark.parametrize(("message", "retryable"), [(NO_SHELL, False), (NODE_TROUBLE, True)])
def test_container_that_the_runtime_could_not_start_never_began(
    message: str, *, retryable: bool, log_opened: bool
) -> None:
    known = Known(job=a_job(), pod=failed_to_start(message), log_opened=log_opened)
    verdict, ending = judge_start(known), judge_ending(known)
    assert isinstance(verdict, NeverStarts)
    assert message in verdict.why
    assert verdict.retryable is retryable
    assert isinstance(ending, NotStarted)
    assert verdict.why in ending.failure.message
    assert ending.failure.evidence == "bootstrap"
    assert never_began(known)


def test_start_error_of_an_evicted_pod_is_reported_as_eviction() -> None:
    evicted = Condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting")
    verdict = judge_start(Known(job=a_job(), pod=failed_to_start(NODE_TROUBLE, conditions=(evicted,))))
    assert isinstance(verdict, LostBeforeStart)
    assert verdict.reason == "EvictionByEvictionAPI"


@pytest.mark.parametrize("reason", ["CreateContainerError", "RunContainerError"])
def test_container_whose_command_the_image_lacks_is_not_waited_for(reason: str) -> None:
    verdict = judge_start(Known(job=a_job(), pod=a_pod(Waiting(reason, NO_SHELL_WITH_CRUN))))
    assert isinstance(verdict, NeverStarts)
    assert NO_SHELL_WITH_CRUN in verdict.why
    other = judge_start(Known(job=a_job(), pod=a_pod(Waiting(reason, NODE_TROUBLE))))
    assert isinstance(other, StillWaiting)


def failure_of(exit_code: int, *, stderr: str = "", stdout: str = "", message: str = "") -> Failure:
    reader = StreamReader()
    reader.feed_stderr(stderr.encode())
    reader.feed(stdout.encode())
    ending = Exited(Terminated(exit_code, "Error", message))
    found = classify_end(
        Observation(ending, reader.finish(), log=None, relay=None, facts=RunFacts("job", "ns")),
        OutcomeInputs(datetime(2026, 1, 1, tzinfo=UTC)),
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("exit_code", "stderr", "quoted", "why"),
    [
        (
            127,
            "setlocale: no\nrelay: 1: claude: not found\n",
            "relay: 1: claude: not found",
            '"claude" was not found',
        ),
        (
            126,
            "relay: 1: claude: Permission denied\n",
            "relay: 1: claude: Permission denied",
            '"claude" may not be',
        ),
        (127, "", "code 127", "a program was not found"),
        (127, "Oops.\n", "Oops.", "a program was not found"),
    ],
)
def test_exit_code_of_a_shell_is_reported_with_what_is_missing(
    exit_code: int, stderr: str, quoted: str, why: str
) -> None:
    failure = failure_of(exit_code, stderr=stderr)
    assert failure.code == "claude_no_result"
    assert failure.what.startswith(f"Claude exited with code {exit_code}")
    assert quoted in failure.what
    assert why in failure.next_step
    assert "`image`" in failure.next_step


def test_wrong_processor_in_the_containers_log_is_reported_with_the_image() -> None:
    failure = failure_of(255, stdout="exec /bin/sh: exec format error\n")
    assert failure.what == "Claude exited with code 255: exec /bin/sh: exec format error"
    assert "another processor" in failure.next_step


def test_missing_program_is_not_the_cause_after_the_start_or_with_exit_code_1() -> None:
    init = '{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'
    failure = failure_of(127, stdout=init, stderr="sh: 1: git: not found\n")
    assert "`image`" not in failure.next_step
    failure = failure_of(1, stderr="sh: 1: git: not found\n")
    assert "`image`" not in failure.next_step


NO_DOCKERD = 'unable to start container process: exec: "dockerd": executable file not found in $PATH'


@pytest.mark.parametrize(
    "end",
    [Terminated(128, "StartError", NO_DOCKERD), Terminated(127, "Error", "sh: 1: dockerd: not found")],
    ids=["runtime", "shell"],
)
@pytest.mark.parametrize("loops", [False, True])
def test_sidecar_whose_program_its_image_lacks_is_not_waited_for(end: Terminated, *, loops: bool) -> None:
    looping = ContainerSnapshot("docker", Waiting("CrashLoopBackOff", "back-off"), sidecar=True, last=end)
    container = looping if loops else ContainerSnapshot("docker", end, sidecar=True)
    verdict = judge_start(
        Known(job=a_job(), pod=a_pod(Waiting("PodInitializing"), init_containers=(container,)))
    )
    assert isinstance(verdict, NeverStarts)
    assert not verdict.retryable
    assert verdict.why.count(end.message) == 1
