"""Shell completion: the words that it offers; and that a kubeconfig that cannot be read does not delay it."""

import os
import time
from pathlib import Path

import pytest
from tests.support.cli_commands import CommandRunner, claude_k8s
from tests.support.dev_cluster_cli import DevClusterCli

from paperclip_claude_k8s.cli.shell_completion import (
    MAX_TIME_LIMIT,
    TIME_LIMIT,
    TIME_LIMIT_VARIABLE,
    time_limit,
)


async def offered(*words: str, env: dict[str, str]) -> list[str]:
    """The words that bash would offer for the last one of `words`."""
    completion = {"_CLAUDE_K8S_COMPLETE": "complete_bash", "COMP_CWORD": str(len(words))}
    code, out, err = await claude_k8s(
        env={**env, **completion, "COMP_WORDS": " ".join(["claude-k8s", *words])}
    )
    assert (code, err) == (0, "")
    return out.split()


async def test_namespaces_contexts_runs_and_jobs_are_offered(dev: DevClusterCli) -> None:
    run = await dev.submit()
    (job,) = await dev.job_names()
    env = dev.cli.environment({"KUBECONFIG": f"{dev.cluster.kubeconfig}:/does/not/exist"})
    assert await offered("jobs", "-n", "pap", env=env) == [dev.cluster.namespace]
    assert await offered("check", "--context", "dev", env=env) == ["devcluster"]
    assert await offered("run", "--run-id", run[:2], env=env) == [run]
    assert await offered("attach", job[:6], env=env) == [job]


async def test_settings_and_error_codes_are_offered_for_explain(tmp_path: Path) -> None:
    env = CommandRunner(tmp_path).environment()
    assert await offered("explain", "imagePullT", env=env) == ["imagePullTimeoutSec"]
    assert "k8s_pod_disrupted" in await offered("explain", "k8s_pod_d", env=env)


@pytest.mark.parametrize("words", [("jobs", "-n", "a"), ("check", "--context", "a"), ("logs", "a")])
async def test_completion_ends_without_a_word_if_reading_the_kubeconfig_blocks(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    fifo = tmp_path / "kubeconfig"
    os.mkfifo(fifo)  # nobody writes: opening it never returns
    env = CommandRunner(tmp_path).environment({"KUBECONFIG": str(fifo), TIME_LIMIT_VARIABLE: "1.5"})
    started = time.monotonic()
    assert await offered(*words, env=env) == []
    assert time.monotonic() - started < TIME_LIMIT + 10  # s, for the start of Python on a busy machine


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5", 5),
        ("0.2", 0.2),
        ("1e9", MAX_TIME_LIMIT),
        *((odd, TIME_LIMIT) for odd in ("", "x", "0", "-1", "nan")),
    ],
)
def test_the_time_limit_of_completion_can_be_set(given: str, expected: float) -> None:
    assert time_limit({TIME_LIMIT_VARIABLE: given}) == expected
