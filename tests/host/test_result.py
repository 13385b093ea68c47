"""The result as JSON: camelCase, without most fields that were not set."""

from datetime import UTC, datetime

from paperclip_claude_k8s.host.result import ExecutionResult, Usage


def test_result_omits_unset_fields_except_five() -> None:
    wire = ExecutionResult(exit_code=0).to_wire()
    assert wire == {
        "exitCode": 0,
        "signal": None,
        "timedOut": False,
        "usageBasis": "per_run",
        "clearSession": False,
    }


def test_result_keeps_an_explicit_null_session() -> None:
    assert ExecutionResult(session_params=None).to_wire()["sessionParams"] is None


def test_result_to_wire_is_camel_case_json() -> None:
    result = ExecutionResult(
        usage=Usage(input_tokens=1, cached_input_tokens=2),
        retry_not_before=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        cost_usd=0.5,
    )
    wire = result.to_wire()
    assert wire["usage"] == {"inputTokens": 1, "outputTokens": 0, "cachedInputTokens": 2}
    assert wire["retryNotBefore"] == "2026-01-02T03:04:05Z"
    assert result.model_dump(mode="json", by_alias=True) == wire
