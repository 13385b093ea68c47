"""A verdict for a run whose log was lost: the relay saw its result and left the facts (SPEC 3)."""

from dataclasses import replace

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.relay import RelaySummary

LOST = "the result event was lost with the log; what the relay noted of it counts"
OVERTAKEN = "the agent went on after the last result that was heard; what came then was lost with the log"
WENT_ON = frozenset({"answer", "init"})


def salvage(told: Transcript, relay: RelaySummary | None) -> Transcript:
    """The transcript with the relay's word for what never arrived; else as it is.

    That is a result, or that the agent went on after the one that was heard.
    """
    heard_all = relay is None or relay.bytes <= told.bytes
    if relay is None or (told.result is not None and (heard_all or _is_of(told, relay))):
        return told
    if relay.is_error is not None:
        return _with_result(told, relay)
    if told.result is not None and relay.last in WENT_ON:
        return replace(told, result=None, cut_short=True, warnings=(*told.warnings, OVERTAKEN))
    return told


def _is_of(told: Transcript, relay: RelaySummary) -> bool:
    """Whether the result that was heard is the one that the relay noted, as far as a verdict goes."""
    heard = told.result or {}
    return (heard.get("subtype"), bool(heard.get("is_error"))) == (relay.subtype, relay.is_error)


def _with_result(told: Transcript, relay: RelaySummary) -> Transcript:
    """A failed result's session is not taken: of an unknown one the CLI prints the id it was asked for."""
    facts = {"type": "result", "subtype": relay.subtype, "is_error": relay.is_error}
    return replace(
        told,
        result={key: value for key, value in facts.items() if value is not None},
        session_id=told.session_id or (None if relay.is_error else relay.session_id),
        cost_usd=told.cost_usd if told.cost_usd is not None else relay.cost_usd,
        cut_short=False,
        empty_reply=False,
        warnings=(*told.warnings, LOST),
    )
