"""What a result says about its session."""

from dataclasses import replace

from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.session_report import SessionReport, session_fields, session_warnings

KEPT = SessionReport("auto", "c", resumed=True)
SUMMARY = RelaySummary(bytes=0, lines=0, sha256=None, exit_code=0)
TROUBLE = replace(SUMMARY, session_trouble="the session volume cannot be used: Read-only file system")


def warnings(report: SessionReport, relay: RelaySummary | None) -> list[str]:
    return [str(warning) for warning in session_warnings(report, relay)]


def test_session_that_was_resumed_and_is_kept_gives_no_warning() -> None:
    assert session_fields(KEPT, SUMMARY) == {"volume": "auto", "claim": "c", "kept": True, "resumed": True}
    assert warnings(KEPT, SUMMARY) == []


def test_volume_that_the_relay_could_not_use_gives_a_warning() -> None:
    assert session_fields(KEPT, TROUBLE)["kept"] is False
    assert session_fields(KEPT, TROUBLE)["whyNotKept"] == TROUBLE.session_trouble
    assert warnings(KEPT, TROUBLE) == [
        f"session_not_kept: this session ends with its Pod: {TROUBLE.session_trouble}"
    ]


def test_session_that_the_config_does_not_keep_gives_no_warning() -> None:
    report = SessionReport("none", why_lost="sessionVolume is none")
    assert session_fields(report, None)["whyNotKept"] == "sessionVolume is none"
    assert warnings(report, None) == []


def test_session_that_was_not_resumed_gives_a_warning() -> None:
    assert warnings(SessionReport("shared", why_fresh="the prompt bundle changed"), None) == [
        "session_not_resumed: the host's session was not resumed: the prompt bundle changed"
    ]
