"""What the quota page shows of a subscription."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.host.quota import no_limits, no_login, oauth_token, request_failed, windows_of

USAGE: dict[str, Any] = {
    "five_hour": {"utilization": 24.6, "resets_at": "2026-01-02T19:59:59.600956+00:00"},
    "seven_day": {"utilization": 120, "resets_at": "2026-01-08T06:59:59Z"},
    "seven_day_sonnet": {"utilization": 1.0, "resets_at": None},
    "seven_day_opus": None,
    "iguana_necktie": {"utilization": 9},
    "extra_usage": {"is_enabled": True, "monthly_limit": 10000, "used_credits": 512, "utilization": 5.12},
}


def test_each_limit_is_a_window_with_percent_and_reset_time() -> None:
    shown = windows_of(USAGE)
    assert shown["ok"] is True
    assert shown["provider"] == "anthropic"
    windows = [(w["label"], w["usedPercent"], w["resetsAt"], w["valueLabel"]) for w in shown["windows"]]
    assert windows == [
        ("Current session (5 hours)", 25, "2026-01-02T19:59:59.600Z", None),
        ("Current week (all models)", 100, "2026-01-08T06:59:59.000Z", None),
        ("Current week (Sonnet only)", 1, None, None),
        ("Extra usage", 5, None, "5.12 USD of 100.00 USD"),
    ]


def test_extra_usage_that_is_off_has_no_percentage() -> None:
    (window,) = windows_of({"extra_usage": {"is_enabled": False, "utilization": None}})["windows"]
    assert (window["usedPercent"], window["valueLabel"]) == (None, "not enabled")


@pytest.mark.parametrize("moment", [1767383999, 1767383999.0])
def test_a_reset_time_in_seconds_is_read_too(moment: float) -> None:
    (window,) = windows_of({"five_hour": {"utilization": 1, "resets_at": moment}})["windows"]
    assert window["resetsAt"] == "2026-01-02T19:59:59.000Z"


@given(
    ANY_JSON
    | st.fixed_dictionaries(
        dict.fromkeys(
            USAGE,
            ANY_JSON
            | st.dictionaries(
                st.sampled_from(
                    ["utilization", "resets_at", "is_enabled", "used_credits", "monthly_limit", "currency"]
                ),
                ANY_JSON,
            ),
        )
    )
)
def test_any_answer_gives_windows_a_page_can_draw_or_an_error(body: object) -> None:
    shown = windows_of(body)
    assert shown["ok"] is bool(shown["windows"])
    assert shown["ok"] or shown["error"]
    for window in shown["windows"]:
        assert window["usedPercent"] is None or 0 <= window["usedPercent"] <= 100


def test_the_token_of_a_login_is_found_and_nothing_else_is_taken_for_one() -> None:
    assert oauth_token('{"claudeAiOauth": {"accessToken": " t "}}') == "t"
    for text in ("", "{", "[]", '{"claudeAiOauth": 1}', '{"claudeAiOauth": {"accessToken": ""}}'):
        assert oauth_token(text) is None


def test_the_other_answers_say_whether_asking_again_helps() -> None:
    assert no_limits("bedrock") == {"provider": "anthropic", "ok": True, "windows": [], "source": "bedrock"}
    assert no_login()["ok"] is False
    assert "CLAUDE_CODE_OAUTH_TOKEN" in no_login()["error"]
    assert request_failed("x", retryable=True)["errorFamily"] == "transient_upstream"
    assert "errorFamily" not in request_failed("x", retryable=False)
