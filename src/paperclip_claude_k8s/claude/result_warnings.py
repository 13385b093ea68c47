"""Warnings about odd fields of a successful result. The result stays a success."""

from collections.abc import Iterator

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.claude.events import Event, get_name
from paperclip_claude_k8s.claude.known_texts import LineKind, kind_of_line
from paperclip_claude_k8s.claude.results import unexpected_subtype
from paperclip_claude_k8s.claude.run_notices import denied_tools
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode

COMMAND_CHARS = 200
"""Characters of an unknown command that a warning quotes."""


def result_warnings(result: Event, *, model_answered: bool) -> Iterator[RunWarning]:
    """`result`: its known fields. `model_answered`: whether a model, not only the CLI, wrote a message."""
    if subtype := unexpected_subtype(result):
        text = (
            f"the result's subtype is {subtype} instead of success, but it flags no error, so it is a success"
        )
        yield RunWarning(WarningCode.RESULT_SUBTYPE, text)
    if result.get("result") == "" and result.get("structured_output") is None:
        stop_reason = get_name(result, "stop_reason") or "null"
        yield RunWarning(WarningCode.RESULT_EMPTY, f"the result is empty (stop_reason: {stop_reason})")
    if "stop_reason" in result and result["stop_reason"] is None and result.get("terminal_reason"):
        yield RunWarning(
            WarningCode.RESULT_TRUNCATED, "stop_reason is null: the answer may have been truncated"
        )
    if denied := denied_tools(result):
        yield RunWarning(WarningCode.PERMISSION_DENIED, f"permission denied for tools: {denied}")
    text_of_result = get_text(result, "result").strip()
    was_called = model_answered or bool(result.get("duration_api_ms"))
    if not was_called and kind_of_line(text_of_result, [LineKind.UNKNOWN_COMMAND]):
        quoted = " ".join(text_of_result[:COMMAND_CHARS].split())
        text = f"the prompt was taken for a command, and the model was not called: {quoted}"
        yield RunWarning(WarningCode.PROMPT_WAS_COMMAND, text)
