"""Messages about runs that failed.

Hosts and administrators search for these texts, which are therefore part of the interface.
"""

import signal
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.known_texts import LineKind, kind_of_line
from paperclip_claude_k8s.claude.torn_lines import torn_type

MAX_QUOTED_CHARS = 4000
"""Largest number of characters of the CLI's text that an error message quotes."""
EMPTY_REPLY = (
    "LLM API returned an empty response (stop_reason: null, output_tokens: 0) — the upstream model API may "
    "be degraded or misconfigured"
)
OOM_HINT = "SIGKILL (commonly OOMKilled)"
LOST_CONTAINER = frozenset({"ContainerStatusUnknown", "Unknown"})
"""`reason` of a container whose exit the kubelet did not see: the exit code, 137 or 255, is then assumed."""
_LOST_HINT = "the container was lost: its node assumes the exit code"
_WITHOUT_SIGNAL_NAME = frozenset({137, 143})
"""Exit codes whose signal a message does not name: `pod_cause` explains 137; 143 is that of a stopped Pod."""
_CRASHED = "the program crashed: use another version of the CLI"
_NEXT_STEPS = {
    132: "the CPU lacks an instruction that the program needs: use another node, or another build of the CLI",
    134: "the program aborted itself, often for lack of memory: raise the memory limit",
    136: _CRASHED,
    139: _CRASHED,
}
"""Exit code → what to do, if the program printed no better reason."""
_FIRST_SIGNAL_CODE, _LAST_SIGNAL_CODE = 129, 192
"""Exit codes of a process that a signal ended: 128 plus the number of the signal."""


class ContainerEnd(Protocol):
    """How the agent's container ended, as far as it is known. `cluster.model.Terminated` implements it."""

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
    """The message for output with neither a result event nor an answer; named as in the TypeScript adapter.

    It quotes plain lines only, never events. `truncated_message` is for answers that were cut.
    """
    # without an answer, only an `init` event can contain this text
    init_seen = any(f'"model":{blank}"{model}"' in stdout for blank in ("", " "))
    return no_answer_message(
        exit_code, model, first_plain_line(stdout), started=bool(stdout.strip()), init=init_seen
    ) + pod_cause(exit_code, pod_state)


def no_answer_message(
    exit_code: int | None, model: str, plain_line: str, *, started: bool, init: bool
) -> str:
    """The message for a run without a result and without content.

    `plain_line`: the line to quote, or empty; `started`: the CLI printed something; `init`: it printed an
    `init` event.
    """
    if exit_code == 0:
        return "Failed to parse Claude JSON output"
    if plain_line:
        return f"{exited_message(exit_code)}: {plain_line}"
    if init and model and exit_code:
        killed = signal_name(exit_code)
        if killed:
            return (
                f"Claude was killed by {killed} (exit code {exit_code}) after init and before its first "
                f"complete answer (model: {model})"
            )
        return (
            f"Claude exited immediately after init (model: {model}) (exit code {exit_code}) — the model may "
            "be unsupported or the session may have been rejected before producing output"
        )
    if started and model:
        return (
            f"Claude started but did not produce a result (model: {model}) — check API credentials, "
            "model support, and adapter config"
        )
    return exited_message(exit_code)


def signal_name(exit_code: int | None) -> str:
    """The name of the signal that an exit code above 128 stands for; empty for any other code."""
    if exit_code is None or not _FIRST_SIGNAL_CODE <= exit_code <= _LAST_SIGNAL_CODE:
        return ""
    try:
        return signal.Signals(exit_code - 128).name
    except ValueError:
        return f"signal {exit_code - 128}"


def empty_reply_text(stop_reason: str | None) -> str:
    """The message for a reply without content; `stop_reason` as the API returned it."""
    return EMPTY_REPLY.replace("stop_reason: null", f"stop_reason: {stop_reason or 'null'}")


def pod_cause(exit_code: int | None, state: ContainerEnd | None) -> str:
    """` [pod: reason=…, message=…, signal=…, SIGKILL …]` with the known parts; empty for exit code 0."""
    if state is None or exit_code == 0:
        return ""
    parts = [
        f"reason={state.reason}" if state.reason else "",
        f"message={state.message}" if state.message else "",
        f"signal={state.signal}" if state.signal is not None else "",
        _signal_hint(state) if state.exit_code == 137 else "",
    ]
    known = ", ".join(part for part in parts if part)
    return f" [pod: {known}]" if known else ""


def _signal_hint(state: ContainerEnd) -> str:
    """What ended the container: its loss, or a signal; empty if the exit code stands for no signal."""
    if state.reason in LOST_CONTAINER:
        return _LOST_HINT
    return OOM_HINT if state.exit_code == 137 else signal_name(state.exit_code)


def quoted_line(lines: Iterable[str], exit_code: int | None) -> str:
    """The plain line that explains best why the CLI ended; empty if there is none.

    That is the first line about a crash if a signal ended the CLI, else the first line. Lines that name no
    cause, such as deprecation warnings, do not count.
    """
    shown = [line for text in lines if (line := text.strip()) and not kind_of_line(line, [LineKind.NOISE])]
    crash = crash_line(shown) if signal_name(exit_code) else ""
    return crash or next(iter(shown), "")


def crash_line(lines: Iterable[str]) -> str:
    """The first line by which a program says that it crashes; empty if there is none."""
    return next((line.strip() for line in lines if kind_of_line(line, [LineKind.CRASH])), "")


def exit_step(exit_code: int | None) -> str:
    """What an administrator can do about this exit code; empty if nothing is known about it."""
    return _NEXT_STEPS.get(exit_code or 0, "")


def first_plain_line(stdout: str) -> str:
    """The first line that contains neither an event nor the beginning of an event; empty if there is none.

    An event is a JSON object with a non-empty `type`.
    """
    lines = (line.strip() for line in stdout.split("\n"))
    return next((line for line in lines if line and not _holds_event(line)), "")


def _holds_event(line: str) -> bool:
    encoded = line.encode("utf-8", "surrogatepass")
    return next(events_on(encoded), None) is not None or torn_type(line) is not None


def describe_truncation_cause(
    state: ContainerEnd | None, *, pod_missing: bool | None = None, phase: str = ""
) -> str:
    """Why the output stops in the middle of a message.

    `state`: how the container ended; None if that was not observed. `pod_missing`: whether the Pod did not
    exist any more; None if the Pod could not be read.
    """
    if state is None:
        return _unobserved_cause(pod_missing, phase)
    parts = ["no exit code" if state.exit_code is None else f"exit code {state.exit_code}"]
    parts.append(_signal_hint(state))
    parts.append(f"signal {state.signal}" if state.signal is not None else "")
    parts.append(f"reason={state.reason}" if state.reason else "")
    parts.append(f"message={state.message}" if state.message else "")
    return ", ".join(part for part in parts if part)


def _unobserved_cause(pod_missing: bool | None, phase: str) -> str:  # noqa: FBT001
    """The cause if the end of the container was not observed."""
    if pod_missing:
        why = "Job pod was removed (eviction, preemption, or external delete) before exit could be read"
        return f"pod is gone — {why}"
    if pod_missing is None:
        return "pod state unavailable — exit cause unknown"
    seen = f"pod phase={phase}" if phase else "pod present"
    why = "kubelet status update did not land within retry window; exit cause unknown"
    return f"container terminated state not yet observable ({seen}) — {why}"


def truncated_message(model: str, cause: str, torn_event: str = "") -> str:
    """The message for output without its last part. `torn_event`: the type of an event that is incomplete."""
    named = f" (model: {model})" if model else ""
    missing = "assistant produced content but no result event arrived"
    if torn_event == "result":
        missing = "the result event was cut off"
    elif torn_event:
        missing += f", and the last line is the beginning of an event of type {torn_event}"
    return f"Claude run was truncated mid-stream{named} — {missing}; {cause}"


def no_result_message(stop_reason: str) -> str:
    """The message for an answer that is complete although no result event followed it."""
    return (
        f"Claude completed its answer (stop_reason: {stop_reason}) and exited with code 0, but printed no "
        "result event"
    )


def retrying_text(retrying: str) -> str:
    """The last part of a message about a CLI that was waiting for the API. `retrying`: the last retry."""
    return f"; the CLI was retrying a call of the API ({retrying})"


def describe_claude_failure(result: Mapping[str, Any]) -> str | None:
    """`Claude run failed: subtype=S: TEXT`, TEXT from `terminal_text`; None if both parts are missing.

    The subtype is left out if it is `success`, which the CLI also prints for failures of the API.
    """
    subtype = result.get("subtype")
    text = terminal_text(result)
    parts = [f"subtype={subtype}" if subtype and subtype != "success" else "", text]
    description = ": ".join(part for part in parts if part)
    return f"Claude run failed: {description}" if description else None


def exited_message(exit_code: int | None) -> str:
    """The message for a failure without any text; it shows an unknown exit code as -1."""
    signal_text = "" if exit_code in _WITHOUT_SIGNAL_NAME else signal_name(exit_code)
    message = f"Claude exited with code {-1 if exit_code is None else exit_code}"
    return f"{message} ({signal_text})" if signal_text else message


def terminal_text(result: Mapping[str, Any]) -> str:
    """The CLI's own text about the failure, shortened: `result`, else the joined `errors`."""
    text = result.get("result")
    if isinstance(text, str) and text.strip():
        return text.strip()[:MAX_QUOTED_CHARS]
    errors = result.get("errors")
    texts = [_error_text(error) for error in errors] if isinstance(errors, list) else []
    return "; ".join(error for error in texts if error)[:MAX_QUOTED_CHARS]


def _error_text(error: object) -> str:
    """The text of an error: a string, or an object with its text in `message`, `error` or `code`."""
    if isinstance(error, dict):
        fields = (error.get(key) for key in ("message", "error", "code"))
        return next((text.strip() for text in fields if isinstance(text, str) and text.strip()), "")
    return error.strip() if isinstance(error, str) else ""
