"""The error code of a run that used up its turns: it decides whether the Paperclip host continues the run."""

import json
from pathlib import Path

import pytest
from tests.support.hosts import Host
from tests.support.in_memory_runs import SESSION

from paperclip_claude_k8s.testing import FakeCluster, PodScript

pytestmark = pytest.mark.looptime
EVENTS = (
    {"type": "system", "subtype": "init", "session_id": SESSION, "model": "m"},
    {"type": "result", "subtype": "error_max_turns", "is_error": True, "num_turns": 3},
)
OUT_OF_TURNS = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)
CONTINUED, FAILED = "max_turns_exhausted", "claude_max_turns"
"""Error codes: the host continues a run that has the first one, and no run that has the second one.

A retry of a failed run gets the second one, because the host would continue such a run again and again.
"""


NO_RETRY = None


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (NO_RETRY, CONTINUED),
        ("max_turns_continuation", CONTINUED),
        ("transient_failure", FAILED),
        ("issue_continuation_needed", FAILED),
    ],
)
async def test_code_of_used_up_turns_depends_on_the_retry_reason_of_the_host(
    reason: str | None, code: str, tmp_path: Path
) -> None:
    context = {"taskId": "t"} | ({"retryReason": reason} if reason else {})
    script = PodScript(output=((0.0, OUT_OF_TURNS),), exit_code=1)
    async with FakeCluster.start(tmp_path, script) as fake:
        host = Host(fake, "host-one")
        result, _ = await host.run(context=context)
        await host.adapter.shutdown()
    assert result.error_code == code
    assert (result.result_json or {})["conversationContinuation"] == "continue_conversation_v1"
    assert result.clear_session is False
