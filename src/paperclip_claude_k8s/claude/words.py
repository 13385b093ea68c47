"""Sentences about a run that ended without a result. Hosts and operators match them: they are interface."""

from collections.abc import Mapping
from typing import Any, Protocol

from paperclip_claude_k8s.claude.events import read_json

QUOTED_CHARS = 4000
"""Of the CLI's words that an error quotes; a message is for people."""
EMPTY_REPLY = (
    "LLM API returned an empty response (stop_reason: null, output_tokens: 0) — the upstream model API may "
    "be degraded or misconfigured"
)
OOM_HINT = "SIGKILL (commonly OOMKilled)"


class ContainerEnd(Protocol):
    """How the agent's container ended, as far as it is known."""

    @property
    def exit_code(self) -> int | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def signal(self) -> int | None: ...


def build_partial_run_error(
    exit_code: int | None, model: str, stdout: str, pod_state: ContainerEnd | None = None
) -> str:
    """The message for output without a result event; lines of the protocol are never quoted."""
    model_seen = f'"model":"{model}"' in stdout
    return partial_run_message(
        exit_code, model, first_plain_line(stdout), started=bool(stdout.strip()), init=model_seen
    ) + _pod_cause(exit_code, pod_state)


def partial_run_message(
    exit_code: int | None, model: str, plain_line: str, *, started: bool, init: bool
) -> str:
    """`started`: anything was printed; `init`: the model announced itself."""
    if exit_code == 0:
        return "Failed to parse Claude JSON output"
    code = -1 if exit_code is None else exit_code
    if plain_line:
        return f"Claude exited with code {code}: {plain_line}"
    if init and model and exit_code:
        return (
            f"Claude exited immediately after init (model: {model}) (exit code {code}) — the model may be "
            "unsupported or the session may have been rejected before producing output"
        )
    if started and model:
        return (
            f"Claude started but did not produce a result (model: {model}) — check API credentials, "
            "model support, and adapter config"
        )
    return f"Claude exited with code {code}"


def _pod_cause(exit_code: int | None, state: ContainerEnd | None) -> str:
    return pod_cause(state) if exit_code != 0 else ""


def pod_cause(state: ContainerEnd | None) -> str:
    """` [pod: reason=…, message=…, signal=…, SIGKILL …]` with what is known, or nothing."""
    if state is None:
        return ""
    parts = [
        f"reason={state.reason}" if state.reason else "",
        f"message={state.message}" if state.message else "",
        f"signal={state.signal}" if state.signal is not None else "",
        OOM_HINT if state.exit_code == 137 else "",
    ]
    told = ", ".join(part for part in parts if part)
    return f" [pod: {told}]" if told else ""


def first_plain_line(stdout: str) -> str:
    """The first line that is no event of the protocol: no JSON object with a non-empty `type`."""
    for line in stdout.split("\n"):
        text = line.strip()
        event = read_json(text.encode("utf-8", "surrogatepass")) if text else None
        if text and not (isinstance(event, dict) and event.get("type")):
            return text
    return ""


def describe_truncation_cause(
    state: ContainerEnd | None, *, pod_missing: bool | None = None, phase: str = ""
) -> str:
    """Why the output stops in mid-answer. `pod_missing` None: nobody could look."""
    if state is None:
        return _unseen_cause(pod_missing, phase)
    parts = ["no exit code" if state.exit_code is None else f"exit code {state.exit_code}"]
    parts.append({137: OOM_HINT, 143: "SIGTERM"}.get(state.exit_code or 0, ""))
    parts.append(f"signal {state.signal}" if state.signal is not None else "")
    parts.append(f"reason={state.reason}" if state.reason else "")
    parts.append(f"message={state.message}" if state.message else "")
    return ", ".join(part for part in parts if part)


def _unseen_cause(pod_missing: bool | None, phase: str) -> str:  # noqa: FBT001
    if pod_missing:
        why = "Job pod was removed (eviction, preemption, or external delete) before exit could be read"
        return f"pod is gone — {why}"
    if pod_missing is None:
        return "pod state unavailable — exit cause unknown"
    seen = f"pod phase={phase}" if phase else "pod present"
    why = "kubelet status update did not land within retry window; exit cause unknown"
    return f"container terminated state not yet observable ({seen}) — {why}"


def truncated_message(model: str, cause: str) -> str:
    named = f" (model: {model})" if model else ""
    return (
        f"Claude run was truncated mid-stream{named} — assistant produced content but no result event "
        f"arrived; {cause}"
    )


def describe_claude_failure(result: Mapping[str, Any]) -> str:
    """`Claude run failed: subtype=S: text`, text being the result's or its errors'."""
    subtype = result.get("subtype")
    named = f": subtype={subtype}" if subtype else ""
    text = terminal_text(result)
    return f"Claude run failed{named}: {text}" if text else f"Claude run failed{named}"


def terminal_text(result: Mapping[str, Any]) -> str:
    """What the CLI itself says of the failure: `result`, else the joined `errors`."""
    said = result.get("result")
    if isinstance(said, str) and said.strip():
        return said.strip()[:QUOTED_CHARS]
    errors = result.get("errors")
    words = "; ".join(error for error in errors if isinstance(error, str)) if isinstance(errors, list) else ""
    return words[:QUOTED_CHARS]
