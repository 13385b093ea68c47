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


@pytest.mark.parametrize("stream", STREAMS, ids=[stream["name"] for stream in STREAMS])
def test_made_up_stream_has_the_expected_result(stream: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "stdout.ndjson"
    file.write_bytes(stream["stream"].encode("utf-8", "surrogatepass"))
    done = CLI.invoke(app, ["replay", str(file), "--quiet", *stream["args"]])
    reply, want = json.loads(done.stdout), stream["want"]
    result = reply["result"]
    if "codes" in want:
        assert result["errorCode"] in want["codes"]
    assert (reply["status"] == "succeeded") is want.get("ok", "codes" not in want)
    assert want.get("session") in {None, result.get("sessionId")}
    assert want.get("summary_has", "") in (result.get("summary") or "")
    assert want.get("retry", "") in str(result.get("retryNotBefore"))
    assert want.get("clearSession") in {None, result.get("clearSession")}
    assert want.get("message_has", "") in str(result.get("errorMessage"))
    warnings = "\n".join(result["resultJson"].get("warnings") or [])
    assert want.get("warning_has", "") in warnings
    assert not (want.get("no_warning") and warnings)
    tokens = (result.get("usage") or {}).get("inputTokens", 0)
    assert want.get("usage_input_at_least", 0) <= tokens <= want.get("usage_input_at_most", tokens)
