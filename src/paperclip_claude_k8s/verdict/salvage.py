"""A verdict for a run whose log was lost: the relay saw the last result and left its facts (SPEC 3)."""

from dataclasses import replace

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.relay import RelaySummary

LOST = "the result event was lost with the log; what the relay noted of it counts"


def salvage(told: Transcript, relay: RelaySummary | None) -> Transcript:
    """The transcript with the relay's word for a result that never arrived; else as it is.

    A failed result's session is not taken: for an unknown session the CLI prints the id it was asked for.
    """
    if told.result is not None or relay is None or relay.subtype is None or relay.is_error is None:
        return told
    result = {"type": "result", "subtype": relay.subtype, "is_error": relay.is_error}
    return replace(
        told,
        result=result,
        session_id=told.session_id or (None if relay.is_error else relay.session_id),
        cost_usd=told.cost_usd if told.cost_usd is not None else relay.cost_usd,
        cut_short=False,
        empty_reply=False,
        warnings=(*told.warnings, LOST),
    )
