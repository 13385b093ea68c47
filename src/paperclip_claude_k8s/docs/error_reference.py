"""Renders `errors.md` from the table beside the error codes."""

from collections.abc import Iterator

from paperclip_claude_k8s.error_codes import ERROR_GROUPS, ERROR_REFERENCE, ErrorDescription

_INTRODUCTION = """\
# Error codes

This file is generated from `error_codes.py` by `python -m paperclip_claude_k8s.docs`.

A failed run has a code in `errorCode`, a sentence in `errorMessage` (what happened, then the next step), and
often a family in `errorFamily`. Code and family are stable; the sentence may change.

What the host does depends on the family and on the evidence that the adapter gives:

| family or evidence | what the host does |
|---|---|
| `transient_upstream` | repeats the run after 30 s, at most twice, and not before `retryNotBefore` |
| `provider_quota` | the same; the agent stays `idle` meanwhile instead of `error` |
| `model_refusal` | does not repeat the run |
| no family, the agent did not run (`executionRecovery.kind` is `bootstrap`) | starts one follow-up run at once; if that fails in the same way, the task is blocked until someone comments |
| no family, the agent may have run | starts one follow-up run, and comments wake the agent (only with `continuationMarker`, which is on by default) |
| the agent was stopped cleanly (`executionRecovery.kind` is `interrupted`) | treats the run as cancelled and does not repeat it |
"""

_SESSIONS = {
    "bootstrap": "unchanged, because the agent did not run",
    "continuation": "can be resumed if the agent had started one",
    "interrupted": "can be resumed",
    "none": "can be resumed",
}


def error_reference() -> str:
    """Markdown: one section for each code, by phase of the run."""
    return "".join(_paragraphs())


def _paragraphs() -> Iterator[str]:
    yield _INTRODUCTION
    for code, description in ERROR_REFERENCE.items():
        if code in ERROR_GROUPS:
            yield f"\n## {ERROR_GROUPS[code]}\n"
        yield f"\n### `{code}`\n\n{description.happened}\n\n"
        yield f"- Repeated by the host: {_retried(description)}\n"
        yield f"- Session: {_session(description)}\n"
        yield f"- What to do: {description.action}\n"


def _retried(description: ErrorDescription) -> str:
    families = [f"`{family}`" for family in description.families if family is not None]
    if not families:
        return "no family" + (", the agent did not run." if "bootstrap" in description.evidence else ".")
    condition = f", if {description.retry_if}" if description.retry_if else ""
    return f"{' or '.join(families)}{condition}."


def _session(description: ErrorDescription) -> str:
    if description.session:
        return description.session
    if all(description.clears_session):
        return "cleared; the next run starts a fresh one."
    return "; or ".join(_SESSIONS[evidence] for evidence in description.evidence) + "."
