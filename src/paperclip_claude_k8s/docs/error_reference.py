"""Renders `errors.md` from the table beside the error codes."""

from collections.abc import Iterator

from paperclip_claude_k8s.error_codes import ERROR_GROUPS, ERROR_REFERENCE, ErrorDescription

_INTRODUCTION = """\
# Error codes

This file is generated from `error_codes.py` by `python -m paperclip_claude_k8s.docs`.

A failed run has a code in `errorCode`, a sentence in `errorMessage` (what happened, then the next step), and
often a family in `errorFamily`. Code and family are stable; the sentence may change.

Whether the host repeats a failed run depends on the family:

- `transient_upstream`: it repeats the run after 30 s, at most twice, and not before `retryNotBefore`.
- `provider_quota`: the same. Meanwhile the agent is `idle` instead of `error`.
- `model_refusal`: it does not repeat the run.
- none: it starts one follow-up run at once.

What the host may conclude depends on the evidence that the result carries:

- `bootstrap`: the agent did not run, so the run can be repeated without loss. The result has
  `executionRecovery.kind` `bootstrap`. If the follow-up run fails in the same way, the task is blocked until
  someone comments.
- `continuation`: the agent may have run. With `continuationMarker` (on by default) comments wake the agent;
  without it, an operator has to resolve the run.
- `interrupted`: the agent was stopped cleanly. The run counts as cancelled and is not repeated.
- `none`: the result makes no statement.
"""

_PROVEN = {
    "bootstrap": "it is proven that the agent did not run",
    "interrupted": "the agent's Pod is known to be gone",
}


def error_reference() -> str:
    """Markdown: one section for each code, grouped by phase of the run."""
    return "".join(_paragraphs())


def _paragraphs() -> Iterator[str]:
    yield _INTRODUCTION
    for code, description in ERROR_REFERENCE.items():
        if code in ERROR_GROUPS:
            yield f"\n## {ERROR_GROUPS[code]}\n"
        yield f"\n### `{code}`\n\n{description.happened}\n\n"
        yield f"- Family: {_family(description)}\n"
        yield f"- Evidence: {_evidence(description)}\n"
        yield f"- Session: {_session(description)}\n"
        yield f"- What to do: {description.action}\n"


def _family(description: ErrorDescription) -> str:
    families = [f"`{family}`" for family in description.families if family is not None]
    condition = f" if {description.retry_if}, else none" if description.retry_if else ""
    return f"{' or '.join(families)}{condition}" if families else "none"


def _evidence(description: ErrorDescription) -> str:
    first, *others = description.evidence
    return f"`{first}` if {_PROVEN[first]}, else `{others[0]}`" if others else f"`{first}`"


def _session(description: ErrorDescription) -> str:
    """What happens to the session that the run resumed or started."""
    if description.session:
        return description.session
    if all(description.clears_session):
        return "cleared; the next run starts a fresh one"
    only_bootstrap = description.evidence == ("bootstrap",)
    return (
        "unchanged, because the agent did not run" if only_bootstrap else "kept; the next run can resume it"
    )
