"""Quota windows of a subscription, from the usage API's response."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.host.quota import (
    failed_request_reply,
    no_limits_reply,
    no_login_reply,
    oauth_token,
    quota_reply,
)

USAGE: dict[str, Any] = {
    "five_hour": {"utilization": 24.6, "resets_at": "2026-01-02T19:59:59.600956+00:00"},
    "seven_day": {"utilization": 120, "resets_at": "2026-01-08T06:59:59Z"},
    "seven_day_sonnet": {"utilization": 1.0, "resets_at": None},
    "seven_day_opus": None,
    "iguana_necktie": {"utilization": 9},  # an unknown window, which is not shown
    "extra_usage": {"is_enabled": True, "monthly_limit": 10000, "used_credits": 512, "utilization": 5.12},
}


def test_quota_windows_have_percent_and_reset_time() -> None:
    reply = quota_reply(USAGE)
    assert reply["ok"] is True
    assert reply["provider"] == "anthropic"
    windows = [(w["label"], w["usedPercent"], w["resetsAt"], w["valueLabel"]) for w in reply["windows"]]
    assert windows == [
        ("Current session (5 hours)", 25, "2026-01-02T19:59:59.600Z", None),
        ("Current week (all models)", 100, "2026-01-08T06:59:59.000Z", None),
        ("Current week (Sonnet only)", 1, None, None),
        ("Extra usage", 5, None, "5.12 USD of 100.00 USD"),
    ]


def test_quota_window_of_disabled_extra_usage_has_no_percent() -> None:
    (window,) = quota_reply({"extra_usage": {"is_enabled": False, "utilization": None}})["windows"]
    assert (window["usedPercent"], window["valueLabel"]) == (None, "not enabled")


@pytest.mark.parametrize("seconds", [1767383999, 1767383999.0])
def test_quota_window_has_a_reset_time_from_seconds(seconds: float) -> None:
    (window,) = quota_reply({"five_hour": {"utilization": 1, "resets_at": seconds}})["windows"]
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
def test_quota_windows_of_any_json_are_valid_or_an_error(body: object) -> None:
    reply = quota_reply(body)
    assert reply["ok"] is bool(reply["windows"])
    assert reply["ok"] or reply["error"]
    for window in reply["windows"]:
        assert window["usedPercent"] is None or 0 <= window["usedPercent"] <= 100


def test_oauth_token_of_credentials_file_is_none_without_a_login() -> None:
    assert oauth_token('{"claudeAiOauth": {"accessToken": " t "}}') == "t"
    for text in ("", "{", "[]", '{"claudeAiOauth": 1}', '{"claudeAiOauth": {"accessToken": ""}}'):
        assert oauth_token(text) is None


def test_account_without_limits_is_reported_as_ok_without_windows() -> None:
    assert no_limits_reply("bedrock") == {
        "provider": "anthropic",
        "ok": True,
        "windows": [],
        "source": "bedrock",
    }


def test_missing_login_is_reported_with_the_variable_to_set() -> None:
    assert no_login_reply()["ok"] is False
    assert "CLAUDE_CODE_OAUTH_TOKEN" in no_login_reply()["error"]


def test_failed_request_is_reported_with_whether_to_retry() -> None:
    assert failed_request_reply("x", retryable=True)["errorFamily"] == "transient_upstream"
    assert "errorFamily" not in failed_request_reply("x", retryable=False)
