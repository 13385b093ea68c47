"""The probe Job of the environment test: a check reports how the Job ended, and the Job is always deleted."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.checks.harness import check_of, open_harness, problems

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.checks.probe import LOG_BYTES, read_beginning
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES, PODS, SECRETS
from paperclip_claude_k8s.host.checkup import Checkup
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, PodScript

NEVER = 1e9
"""Seconds, far more than any test takes."""


def script_by_pod(probe: PodScript) -> Callable[[dict[str, Any]], PodScript]:
    """Return the function that gives the probe's Pod this script, and lets the home pod run on."""
    return lambda pod: probe if "job-name" in pod["metadata"].get("labels", {}) else PodScript(ends_at=NEVER)


async def run_probe(
    folder: Path, pod_script: PodScript, prepare: Callable[[Any], None] = lambda _: None
) -> Checkup:
    """Run the environment test with a probe, and check that no object of the probe remains."""
    async with open_harness(folder, script_by_pod(pod_script)) as harness:
        prepare(harness.fake)
        checkup = await harness.test(probe=True)
        await asyncio.sleep(60)
        assert list(harness.fake.store.list(JOBS)) == []
        assert [pod["metadata"]["name"] for pod in harness.fake.store.list(PODS)] == ["paperclip-0"]
        remaining = {secret["metadata"]["name"] for secret in harness.fake.store.list(SECRETS)}
        assert remaining == {"paperclip-secrets", "registry"}
        assert list(harness.fake.store.list(LEASES)) == []
        return checkup


@pytest.mark.looptime
async def test_probe_passes_and_reports_the_version(tmp_path: Path) -> None:
    bookmark = b"\x1e0123abcd b 22 1\n"  # a line of the relay
    output = ((0.1, b"2.1.251 (Claude Code)\n"), (0.2, bookmark))
    checkup = await run_probe(tmp_path, PodScript(output=output))
    assert (checkup.status, problems(checkup)) == ("pass", [])
    assert check_of(checkup, "k8s_probe_passed").message.endswith("2.1.251 (Claude Code)")


@pytest.mark.looptime
async def test_probe_on_a_server_without_log_timestamps_reports_the_version(tmp_path: Path) -> None:
    bookmark = b"\x1e0123abcd b 0 0\n"  # a line of the relay
    output = ((0.1, bookmark + b"2.1.251 (Claude Code)\n"),)

    def ignore_timestamps(fake: FakeCluster) -> None:
        fake.faults.ignored_log_options.add("timestamps")

    checkup = await run_probe(tmp_path, PodScript(output=output), ignore_timestamps)
    assert check_of(checkup, "k8s_probe_passed").message.endswith(": 2.1.251 (Claude Code)")


@pytest.mark.looptime
async def test_probe_whose_log_cannot_be_read_says_so(tmp_path: Path) -> None:
    message = "dial tcp 10.0.0.1:10250: connect: connection refused"

    def close_kubelet_port(fake: FakeCluster) -> None:
        fake.faults.refuse("get", "pods/log", 500, times=10**6, message=message)

    checkup = await run_probe(tmp_path, PodScript(), close_kubelet_port)
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_probe_failed", "error")
    assert "ran, but its log could not be read" in check.message
    assert message in check.message


@pytest.mark.looptime
async def test_probe_in_an_image_without_cli_quotes_the_shell_error(tmp_path: Path) -> None:
    stderr_line = b"\x1e0123abcd e sh: claude: not found\n"
    checkup = await run_probe(tmp_path, PodScript(output=((0.1, stderr_line),), exit_code=127))
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_probe_failed", "error")
    assert "exit code 127: sh: claude: not found" in check.message
    assert "PATH" in (check.hint or "")


class EndlessLog:
    def __init__(self) -> None:
        self.reads = 0

    async def read(self) -> bytes:
        self.reads += 1
        return b"x" * 16_384


async def test_only_the_beginning_of_an_endless_log_is_read() -> None:
    log = EndlessLog()
    assert set(await read_beginning(log)) == {ord("x")}
    assert log.reads == LOG_BYTES / 16_384


@pytest.mark.looptime
async def test_probe_timeout_names_the_reason_for_waiting(tmp_path: Path) -> None:
    waiting = ((NEVER, "ImagePullBackOff", "Back-off pulling image"),)
    checkup = await run_probe(tmp_path, PodScript(waiting=waiting))
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_probe_timeout", "warn")
    assert "ImagePullBackOff" in check.message


@pytest.mark.looptime
async def test_probe_with_invalid_image_fails_at_once(tmp_path: Path) -> None:
    waiting = ((NEVER, "InvalidImageName", "couldn't parse image reference"),)
    checkup = await run_probe(tmp_path, PodScript(waiting=waiting))
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_probe_failed", "error")
    assert "InvalidImageName" in check.message


@pytest.mark.looptime
async def test_probe_is_deleted_if_its_secret_is_refused(tmp_path: Path) -> None:
    def refuse(fake: Any) -> None:
        fake.faults.refuse("create", "secrets", 403, message="exceeded quota: secrets")

    checkup = await run_probe(tmp_path, PodScript(), refuse)
    (check,) = problems(checkup)
    assert check.code == "k8s_probe_failed"
    assert "exceeded quota: secrets" in check.message


@pytest.mark.looptime
async def test_probe_is_skipped_without_the_right_to_create_secrets(tmp_path: Path) -> None:
    def deny(fake: Any) -> None:
        fake.faults.denied.add(("create", "secrets"))

    checkup = await run_probe(tmp_path, PodScript(), deny)
    assert check_of(checkup, "k8s_probe_skipped").level == "info"


@pytest.mark.looptime
async def test_cancelled_environment_test_deletes_its_probe(tmp_path: Path) -> None:
    async with open_harness(tmp_path, script_by_pod(PodScript(ends_at=NEVER))) as harness:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(harness.test(probe=True))
            await asyncio.sleep(5)
            assert len(list(harness.fake.store.list(JOBS))) == 1
            task.cancel()
        assert list(harness.fake.store.list(JOBS)) == []


async def test_probe_runs_on_the_development_cluster() -> None:
    async with DevCluster.start() as cluster:
        adapter = Adapter(ProcessSettings(env={}))
        config = {"kubeconfig": str(cluster.kubeconfig), "image": "x", "namespace": NAMESPACE}
        try:
            checkup = await adapter.test_environment({"config": config, "probe": True})
        finally:
            await adapter.shutdown()
        assert check_of(checkup, "k8s_probe_passed").message.endswith("0.0.0 (stand-in)")
        assert list(cluster.store.list(JOBS)) == []
