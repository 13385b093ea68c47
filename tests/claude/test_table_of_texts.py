"""The table of texts of the Claude CLI: each is recognised in every form, but not in a quotation."""

from typing import Any

import pytest
from tests.support.failed_runs import INIT, NOW, api_error, failure_of, read

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.claude.classification import FailureClass, classify
from paperclip_claude_k8s.claude.known_texts import (
    KnownText,
    LineKind,
    class_of_text,
    kind_of_line,
    known_texts,
)
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end

FAILURE_TEXTS = [known for known in known_texts() if isinstance(known.text_class, FailureClass)]
OTHER_TEXTS = [known for known in known_texts() if isinstance(known.text_class, LineKind)]


def example_of(known: KnownText) -> str:
    """A text that matches the entry of the table."""
    start, rest = ("Some words: ", known.text[1:]) if known.is_anywhere else ("", known.text)
    return start + rest.replace("<word>", "abc-1").replace("*", "xyz")


@pytest.mark.parametrize("known", FAILURE_TEXTS, ids=lambda known: known.text)
def test_text_of_the_table_has_its_class_in_every_form(known: KnownText) -> None:
    text = example_of(known)
    forms = [text, f"API Error: {text} · more", f"API Error: 400 {text}", f"{text.upper()}", api_error(text)]
    for form in forms:
        assert class_of_text(form) is known.text_class, form
    assert class_of_text(f"Something was wrong\n{text}") is known.text_class
    is_version = known.seen_in.replace(".", "").isdecimal()
    assert is_version or known.seen_in in {"API", "cloud", "reported"}


@pytest.mark.parametrize("known", OTHER_TEXTS, ids=lambda known: known.text)
def test_line_with_a_text_of_the_table_has_its_kind(known: KnownText) -> None:
    assert kind_of_line(example_of(known), list(LineKind)) is known.text_class


def test_unknown_text_has_no_class() -> None:
    assert class_of_text("an unknown text") is None
    assert class_of_text("I read that the Prompt is too long") is None
    assert kind_of_line("an unknown line", list(LineKind)) is None


def test_text_in_errors_of_a_result_counts_only_after_api_error() -> None:
    """`errors` of a result may repeat what MCP servers and other programs wrote."""

    def class_of(*errors: str) -> FailureClass:
        failed = {"type": "result", "subtype": "error_during_execution", "is_error": True, "errors": errors}
        return classify(read(INIT, failed), NOW).failure_class

    assert class_of("[mcp] read ECONNRESET", "[db] token has expired") is FailureClass.OTHER
    assert class_of("[mcp] up", "API Error: read ECONNRESET") is FailureClass.TRANSIENT
    assert class_of("API Error: 403 the token has expired") is FailureClass.AUTH_REQUIRED


def quoting_run(text: str, result: dict[str, Any]) -> Transcript:
    """A run in which the model and a tool quote the text."""
    message = {"id": "m1", "model": "m", "content": [{"type": "text", "text": text}]}
    call = {
        "id": "m2",
        "model": "m",
        "content": [{"type": "tool_use", "id": "t", "name": "B", "input": {"x": text}}],
    }
    output = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": text}]}
    return read(
        INIT,
        {"type": "assistant", "parent_tool_use_id": None, "message": call},
        {"type": "user", "message": output, "tool_use_result": text},
        {"type": "assistant", "parent_tool_use_id": None, "message": message},
        {"type": "result", "subtype": "success", "is_error": False, **result},
        stderr=f"mcp-server: {text}\n",
    )


@pytest.mark.parametrize("known", known_texts(), ids=lambda known: known.text)
def test_quoted_text_changes_neither_a_success_nor_the_class_of_a_failure(known: KnownText) -> None:
    text = example_of(known)
    success = quoting_run(text, {"result": text, "duration_api_ms": 5})
    observation = Observation(Exited(Terminated(0)), success, None, None, RunFacts("job", "ns"))
    assert classify_end(observation, OutcomeInputs(NOW)) is None
    assert success.warnings == ()
    assert (success.session_id, success.summary) == ("s", text.strip())
    for result in ({"result": "odd"}, {"result": text}):
        failure = failure_of(quoting_run(text, {"is_error": True, **result}), resumed=True)
        assert (failure.code, failure.clear_session) == ("claude_failed", False)
