"""If Claude refuses to resume a session, the run repeats the attempt once, with a fresh session."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import Host
from tests.support.in_memory_runs import SESSION, WHOLE

from paperclip_claude_k8s.testing import FakeCluster, PodScript

pytestmark = pytest.mark.looptime
RUNTIME = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
WITH_VOLUME = {"claimName": "paperclip-data"}
"""A config with which sessions outlive their Pods, so runs try to resume them."""
INIT = {"type": "system", "subtype": "init", "session_id": SESSION, "model": "m"}


def refusal(text: str) -> bytes:
    """The output of a resumed session that fails with this text."""
    result = {"type": "result", "subtype": "success", "is_error": True, "result": text, "session_id": SESSION}
    return b"".join(json.dumps(event).encode() + b"\n" for event in (INIT, result))


REFUSALS = {
    "prompt too long": (refusal("Prompt is too long"), "claude_prompt_too_long"),
    "image": (refusal("API Error: 400 Could not process image"), "claude_poisoned_previous_message_id"),
    "unknown session": (
        f"No conversation found with session ID: {SESSION}\n".encode(),
        "session_unavailable",
    ),
}
"""Name → output, and the error code that it leads to."""


@pytest.mark.parametrize("kind", REFUSALS)
async def test_refused_session_is_retried_with_a_fresh_one(kind: str, tmp_path: Path) -> None:
    def pod_script_of(pod: Any) -> PodScript:
        resumes = "--resume" in pod["spec"]["containers"][0]["command"]
        return PodScript(output=((0.0, REFUSALS[kind][0] if resumes else WHOLE),), exit_code=int(resumes))

    async with FakeCluster.start(tmp_path, pod_script_of) as fake:
        host = Host(fake, "host-one")
        result, host_log = await host.run(runtime=RUNTIME, config=WITH_VOLUME)
        await host.adapter.shutdown()
        assert result.error_message is None
        assert result.session_id not in {None, SESSION}
        assert "trying once more with a fresh session" in host_log.status
        assert fake.calls.count("create", "jobs") == 2


async def test_usage_of_the_refused_attempt_is_included(tmp_path: Path) -> None:
    paid = json.loads(REFUSALS["image"][0].split(b"\n")[1]) | {
        "uuid": "u",
        "total_cost_usd": 7.0,  # includes the earlier runs of the session
        "model_usage_since_last_result": {"m": {"inputTokens": 1000, "costUSD": 0.5}},
    }

    def pod_script_of(pod: Any) -> PodScript:
        resumes = "--resume" in pod["spec"]["containers"][0]["command"]
        return PodScript(output=((0.0, json.dumps(paid).encode() + b"\n" if resumes else WHOLE),))

    async with FakeCluster.start(tmp_path, pod_script_of) as fake:
        host = Host(fake, "host-one")
        fresh, _ = await host.run()
        both, _ = await host.run(runId="run-2", runtime=RUNTIME, config=WITH_VOLUME)
        await host.adapter.shutdown()
        assert fresh.cost_usd is not None
        assert both.cost_usd == pytest.approx(fresh.cost_usd + 0.5)
        assert fresh.usage is not None
        assert both.usage is not None
        assert both.usage.input_tokens == fresh.usage.input_tokens + 1000


@pytest.mark.parametrize("kind", REFUSALS)
async def test_refused_fresh_session_is_not_retried(kind: str, tmp_path: Path) -> None:
    output, code = REFUSALS[kind]
    async with FakeCluster.start(tmp_path, PodScript(output=((0.0, output),), exit_code=1)) as fake:
        host = Host(fake, "host-one")
        result, _ = await host.run()
        await host.adapter.shutdown()
        assert result.error_code == code
        assert result.clear_session is (kind != "prompt too long")
        assert fake.calls.count("create", "jobs") == 1
