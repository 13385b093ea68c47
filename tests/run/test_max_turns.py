"""A run whose turns ran out: the host continues it, but not without an end."""

import json
from pathlib import Path

import pytest
from tests.support.hosts import Host

from paperclip_claude_k8s.testing import FakeCluster, PodScript

pytestmark = pytest.mark.looptime
EVENTS = (
    {"type": "system", "subtype": "init", "session_id": "5b2f899d-026f-4619-ac69-4537ef7d22eb", "model": "m"},
    {"type": "result", "subtype": "error_max_turns", "is_error": True, "num_turns": 3},
)
OUT_OF_TURNS = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)
CONTINUED, FAILED = "max_turns_exhausted", "claude_max_turns"
"""Error codes: the host continues a run with the first, and does not continue one with the second."""


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (None, CONTINUED),
        ("max_turns_continuation", CONTINUED),
        ("transient_failure", FAILED),
        ("issue_continuation_needed", FAILED),
    ],
)
async def test_code_of_exhausted_turns_depends_on_why_the_host_retries(
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
