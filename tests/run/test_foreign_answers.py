"""Runs while a proxy or a gateway answers in place of the API server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, QUIET, WHOLE, assert_whole, count_jobs, one_host

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.cluster.port import NOT_KUBERNETES, PROXY_REFUSED, ClusterError
from paperclip_claude_k8s.testing import PodScript

pytestmark = pytest.mark.looptime
FOREIGN_ANSWERS = (
    ClusterError(None, PROXY_REFUSED, "the proxy 10.0.0.1:3128 (proxy-url) answered 407"),
    ClusterError(None, NOT_KUBERNETES, "10.0.0.1:443 answered with a web page"),
    ClusterError(302, NOT_KUBERNETES, "10.0.0.1:443 answered with a redirect to https://login.example/"),
)


@pytest.mark.parametrize("answer", FOREIGN_ANSWERS, ids=str)
@pytest.mark.parametrize(
    ("verb", "resource", "code"),
    [
        ("create", "leases", "k8s_concurrency_guard_unreachable"),
        ("list", "jobs", "k8s_concurrency_guard_unreachable"),
        ("create", "jobs", "k8s_job_create_failed"),
        ("create", "secrets", "k8s_prompt_secret_create_failed"),
    ],
)
async def test_run_fails_at_once_at_a_foreign_answer_before_its_start(
    answer: ClusterError, verb: str, resource: str, code: str, tmp_path: Path
) -> None:
    def answer_call(called_verb: str, called_resource: str) -> None:
        if (called_verb, called_resource) == (verb, resource):
            raise answer

    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.request_hooks.append(answer_call)
        began = loop_time()
        result, _ = await run()
        assert loop_time() - began < 15, "the call was retried"
        assert (result.error_code, result.error_family) == (code, None)
        assert answer.message in (result.error_message or "")
        assert count_jobs(fake) == 0


@pytest.mark.parametrize("answer", FOREIGN_ANSWERS, ids=str)
async def test_run_survives_foreign_answers_during_its_work(answer: ClusterError, tmp_path: Path) -> None:
    output = tuple((float(n), line + b"\n") for n, line in enumerate(WHOLE.splitlines(), 1))
    script = PodScript(output=output, ends_at=400.0)
    async with one_host(tmp_path, script) as (fake, run):

        def answer_call(_verb: str, _resource: str) -> None:
            raise answer

        async def interrupt() -> None:
            await asyncio.sleep(20)
            fake.faults.request_hooks.append(answer_call)
            fake.faults.drop_log_streams()
            fake.faults.close_watches()
            await asyncio.sleep(200)
            fake.faults.request_hooks.clear()

        async with asyncio.TaskGroup() as group:
            group.create_task(interrupt())
            running: asyncio.Task[Any] = group.create_task(run())
        assert_whole(*running.result())


@pytest.mark.parametrize("answer", FOREIGN_ANSWERS, ids=str)
@pytest.mark.parametrize("stopped", [True, False])
async def test_job_is_deleted_although_the_first_deletions_get_foreign_answers(
    answer: ClusterError,
    stopped: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    """Otherwise a stopped agent would work on, or a finished Job would stay in the cluster."""

    def answer_delete(verb: str, resource: str) -> None:
        if (verb, resource) == ("delete", "jobs") and loop_time() < clears_at:
            raise answer

    async with one_host(tmp_path, QUIET if stopped else GOOD) as (fake, run):
        fake.faults.request_hooks.append(answer_delete)
        clears_at, stop = loop_time() + 7, asyncio.Event()  # attempts of a clean-up are at most 5 s apart
        asyncio.get_running_loop().call_later(5, stop.set)
        result, host_log = await run(**({"signal": stop} if stopped else {}))
        assert result.error_code == ("cancelled" if stopped else None)
        assert "Could not confirm" not in host_log.status
        assert count_jobs(fake) == 0
