"""What a result says about its session: where it is kept, and why it was not resumed or will be lost."""

from collections.abc import Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.relay import RelaySummary


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What the plan of a run says about its session."""

    volume: str
    """`shared`, `claim`, `auto` or `none`."""
    claim: str = ""
    resumed: bool = False
    why_lost: str = ""
    """Why the session ends with its Pod, as a clause; "" if the session outlives the Pod."""
    expected: bool = True
    """Whether the config itself says where the session is, so that `why_lost` needs no warning.

    False for `sessionVolume` auto, which is meant to keep sessions.
    """
    why_fresh: str = ""
    """Why the session that the host named was not resumed; "" if it was, or if the host named none."""


def session_fields(report: SessionReport, relay: RelaySummary | None) -> JsonMap:
    """`resultJson.session`."""
    lost = _why_lost(report, relay)
    known: JsonMap = {
        "volume": report.volume,
        "claim": report.claim or None,
        "kept": not lost,
        "resumed": report.resumed,
        "whyNotKept": lost or None,
        "whyNotResumed": report.why_fresh or None,
    }
    return {key: value for key, value in known.items() if value is not None}


def session_warnings(report: SessionReport, relay: RelaySummary | None) -> Iterator[RunWarning]:
    """Warnings if the session was not resumed, or is not kept, although host or config asked for that."""
    if report.why_fresh:
        text = f"the host's session was not resumed: {report.why_fresh}"
        yield RunWarning(WarningCode.SESSION_NOT_RESUMED, text)
    lost = _why_lost(report, relay)
    if lost and not (report.why_lost and report.expected):
        yield RunWarning(WarningCode.SESSION_NOT_KEPT, f"this session ends with its Pod: {lost}")


def _why_lost(report: SessionReport, relay: RelaySummary | None) -> str:
    trouble = relay.session_trouble if relay is not None else None
    return report.why_lost or trouble or ""
