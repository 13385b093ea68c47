"""Small made-up outputs of the Claude CLI, and the results that `claude-k8s replay` must print for them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paperclip_claude_k8s.cli.app import app

CLI = CliRunner()
FILE = Path(__file__).parents[2] / "fixtures" / "claude" / "streams.json"
STREAMS = json.loads(FILE.read_text(encoding="utf-8"))
"""Each with its arguments for `replay`, and with expectations in `want`. What `want` lacks is not checked."""


@pytest.mark.parametrize("stream", STREAMS, ids=[stream["name"] for stream in STREAMS])
def test_made_up_stream_has_the_expected_result(stream: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "stdout.ndjson"
    file.write_bytes(stream["stream"].encode("utf-8", "surrogatepass"))
    done = CLI.invoke(app, ["replay", str(file), "--quiet", *stream["args"]])
    reply, expected = json.loads(done.stdout), stream["want"]
    result = reply["result"]
    if "codes" in expected:
        assert result["errorCode"] in expected["codes"]
    assert (reply["status"] == "succeeded") is expected.get("ok", "codes" not in expected)
    assert expected.get("session") in {None, result.get("sessionId")}
    assert expected.get("summary_has", "") in (result.get("summary") or "")
    assert expected.get("retry", "") in str(result.get("retryNotBefore"))
    assert expected.get("clearSession") in {None, result.get("clearSession")}
    assert expected.get("message_has", "") in str(result.get("errorMessage"))
    warnings = "\n".join(result["resultJson"].get("warnings") or [])
    assert expected.get("warning_has", "") in warnings
    assert not (expected.get("no_warning") and warnings)
    tokens = (result.get("usage") or {}).get("inputTokens", 0)
    assert expected.get("usage_input_at_least", 0) <= tokens <= expected.get("usage_input_at_most", tokens)
