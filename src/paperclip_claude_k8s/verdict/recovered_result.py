"""A verdict for a run whose log was lost: the relay saw all of it and left its facts (SPEC 3)."""

from dataclasses import replace

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.relay import RelaySummary

LOST = "the result event was lost with the log; what the relay noted of it counts"
NOT_THE_END = "a part of the log was lost in which the CLI went on after the last result that was heard"
WENT_ON = frozenset({"answer", "init"})
"""What the relay saw last where the CLI went on after a result."""


def recover_result(told: Transcript, relay: RelaySummary | None) -> Transcript:
    """The transcript with the relay's word for how the run ended, where that was not heard; else as it is.

    As in the log itself, a result counts only where the CLI did not go on after it. What the relay says is
    asked where nothing of a result was heard, or where bytes are missing that the relay counted.
    A failed result's session is not taken: for an unknown session the CLI prints the id it was asked for.
    """
    if relay is None or not _may_have_missed_the_end(told, relay):
        return told
    if relay.is_error is not None:
        return told if _is_the_one_heard(told, relay) else _with_result(told, relay)
    if told.result is None or relay.last not in WENT_ON:
        return told
    warnings = (*told.warnings, NOT_THE_END)
    return replace(told, result=None, overtaken=True, cut_short=True, empty_reply=False, warnings=warnings)


def _may_have_missed_the_end(told: Transcript, relay: RelaySummary) -> bool:
    heard_a_result = told.result is not None or told.overtaken
    return not heard_a_result or told.bytes < relay.bytes


def _is_the_one_heard(told: Transcript, relay: RelaySummary) -> bool:
    result = told.result
    return (
        result is not None
        and result.get("subtype") == relay.subtype
        and bool(result.get("is_error")) is relay.is_error
        and relay.cost_usd in {None, told.reported_usage.total_cost}
    )


def _with_result(told: Transcript, relay: RelaySummary) -> Transcript:
    facts = {"type": "result", "subtype": relay.subtype, "is_error": relay.is_error}
    return replace(
        told,
        result={key: value for key, value in facts.items() if value is not None},
        session_id=told.session_id or (None if relay.is_error else relay.session_id),
        reported_usage=told.reported_usage.with_lost_result(relay.cost_usd),
        overtaken=False,
        cut_short=False,
        empty_reply=False,
        warnings=(*told.warnings, LOST),
    )
