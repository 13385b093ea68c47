"""The prompt: which sections it has for which context and session, and their texts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON, ANY_WAKE

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.prompt import HOST_TEXTS, Prompt, assemble_prompt
from paperclip_claude_k8s.plan.wake import read_wake_payload

WAKE = {"reason": "issue_commented", "issue": {"id": "i", "title": "T", "description": "From the wake."}}
TASK = {"paperclipTaskMarkdown": "The task in full.", "paperclipTaskMarkdownCompact": "The task in short."}
METRICS = {
    "promptChars",
    "bootstrapPromptChars",
    "wakePromptChars",
    "sessionHandoffChars",
    "taskContextChars",
    "heartbeatPromptChars",
}


async def on_log(stream: str, text: str) -> None:
    pass


def assembled(context: dict[str, Any] | None = None, *, resumed: bool = False, **config: Any) -> Prompt:
    ctx = ExecutionContext.read(
        {
            "runId": "run-1",
            "agent": {"id": "agent-1", "companyId": "company-1", "name": "Ada"},
            "context": context or {},
            "onLog": on_log,
        }
    )
    wake = read_wake_payload(ctx.context.get("paperclipWake"))
    return assemble_prompt(ctx, AdapterConfig(**config), wake, resumed=resumed)


def test_default_prompt_names_agent_run_and_api() -> None:
    text = assembled().text
    assert all(part in text for part in ("Ada", "agent-1", "company-1", "run-1"))
    assert all(part in text for part in ("$PAPERCLIP_API_URL", "$PAPERCLIP_API_KEY"))
    assert "{{" not in text


def test_sections_are_in_order_and_are_counted() -> None:
    context = {**TASK, "paperclipWake": WAKE, "paperclipSessionHandoffMarkdown": " Handed over. "}
    prompt = assembled(
        context, bootstrap_prompt_template="Boot {{agent.name}}", prompt_template="Go {{runId}}"
    )
    parts = ["Boot Ada", "## Paperclip Wake Payload", "Handed over.", "The task in full.", "Go run-1"]
    found = [prompt.text.index(part) for part in parts]
    assert found == sorted(found)
    assert prompt.metrics.keys() == METRICS
    assert prompt.metrics["promptChars"] == len(prompt.text)
    assert prompt.metrics["bootstrapPromptChars"] == len("Boot Ada")
    assert prompt.metrics["sessionHandoffChars"] == len("Handed over.")
    assert prompt.metrics["taskContextChars"] == len("The task in full.")
    assert prompt.metrics["heartbeatPromptChars"] == len("Go run-1")
    blanks = 4 * len("\n\n")  # between the five sections
    sections = sum(prompt.metrics.values()) - prompt.metrics["promptChars"]
    assert sections + blanks == prompt.metrics["promptChars"]


def test_task_text_replaces_description_of_wake() -> None:
    assert "From the wake." in assembled({"paperclipWake": WAKE}).text
    assert "From the wake." not in assembled({**TASK, "paperclipWake": WAKE}).text


@pytest.mark.parametrize(
    ("context", "resumed", "has_template", "has_bootstrap"),
    [
        ({}, False, True, True),
        ({"paperclipWake": WAKE}, False, True, True),
        ({"paperclipWake": WAKE}, True, False, False),
        ({}, True, True, False),
        ({"paperclipWake": {"reason": "issue_commented"}}, True, True, False),
        ({"paperclipWake": {**WAKE, "recovery": {"cause": "process_lost"}}}, False, False, True),
        ({"paperclipWake": {**WAKE, "reason": "source_scoped_recovery_action"}}, False, False, True),
        ({"paperclipWake": {"reason": "source_scoped_recovery_action"}}, False, True, True),
        ({**TASK, "paperclipWake": WAKE}, True, False, False),
    ],
)
def test_template_is_left_out_of_resumed_sessions_and_recoveries_with_a_wake_prompt(
    context: dict[str, Any],
    resumed: bool,  # noqa: FBT001
    has_template: bool,  # noqa: FBT001
    has_bootstrap: bool,  # noqa: FBT001
) -> None:
    prompt = assembled(
        context, resumed=resumed, prompt_template="Template.", bootstrap_prompt_template="Boot."
    )
    assert ("Template." in prompt.text) is has_template
    assert bool(prompt.metrics["heartbeatPromptChars"]) is has_template
    assert ("Boot." in prompt.text) is has_bootstrap


def test_compact_task_replaces_the_full_one_in_a_resumed_session() -> None:
    text = assembled({**TASK, "paperclipWake": WAKE}, resumed=True).text
    assert "The task in short." in text
    assert "The task in full." not in text


TASK_TEXTS = {"paperclipTaskMarkdown": "full", "paperclipTaskMarkdownCompact": "compact"}
COMMENTED = {"reason": "issue_commented", "issue": {"id": "i"}}


@pytest.mark.parametrize(
    ("context", "resumed", "chosen"),
    [
        ({**TASK_TEXTS, "paperclipWake": COMMENTED}, False, "full"),
        ({**TASK_TEXTS, "paperclipWake": COMMENTED}, True, "compact"),
        ({**TASK_TEXTS}, True, "full"),
        ({**TASK_TEXTS, "paperclipWake": {"reason": "issue_commented"}}, True, "full"),
        ({**TASK_TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_assigned"}}, True, "full"),
        (
            {**TASK_TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_reopened_via_comment"}},
            True,
            "full",
        ),
        (
            {**TASK_TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_recovery_action_restored"}},
            True,
            "full",
        ),
        ({**TASK_TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_tree_restored"}}, True, "full"),
        (
            {**TASK_TEXTS, "paperclipWake": {**COMMENTED, "reason": "source_scoped_recovery_action"}},
            True,
            "full",
        ),
        ({**TASK_TEXTS, "paperclipWake": {**COMMENTED, "recovery": {"cause": "x"}}}, True, "full"),
        ({"paperclipTaskMarkdown": "full", "paperclipWake": COMMENTED}, True, "full"),
        ({**TASK_TEXTS, "paperclipTaskMarkdownCompact": " ", "paperclipWake": COMMENTED}, True, "full"),
        ({"paperclipTaskMarkdownCompact": "compact", "paperclipWake": COMMENTED}, True, ""),
        ({"paperclipTaskMarkdown": " \n"}, False, ""),
        ({"paperclipTaskMarkdown": 3}, False, ""),
        ({}, False, ""),
    ],
)
def test_compact_task_is_for_resumed_sessions_that_know_the_task(
    context: dict[str, Any],
    resumed: bool,  # noqa: FBT001
    chosen: str,
) -> None:
    prompt = assembled(context, resumed=resumed, prompt_template="Go.")
    assert prompt.metrics["taskContextChars"] == len(chosen)
    assert chosen in prompt.text


def test_execution_contract_is_added_to_a_configured_template() -> None:
    context = {"paperclipWake": WAKE}
    assert "### How to end this run" in assembled(context, prompt_template="Go.").text
    assert "### How to end this run" not in assembled(context).text


def test_conversation_has_another_default_template_and_no_execution_contract() -> None:
    # only the JSON value true turns the conversation on
    talk, work = assembled({"conversationMode": True}).text, assembled({"conversationMode": "true"}).text
    assert "in a conversation" in talk
    assert "in a conversation" not in work
    assert assembled({"conversationMode": True}, prompt_template="Mine.").text == "Mine."
    resumed = assembled({"conversationMode": True, "paperclipWake": WAKE}, resumed=True).text
    assert "### How to end this run" not in resumed


def test_host_texts_replace_those_of_the_adapter() -> None:
    host = {
        "wakePrompt": "Host wake.",
        "taskMarkdown": "Host task.",
        "promptTemplate": "Host {{agent.name}}.",
    }
    prompt = assembled({**TASK, "paperclipWake": WAKE, HOST_TEXTS: host})
    assert prompt.text == "Host wake.\n\nHost task.\n\nHost Ada."
    assert assembled({HOST_TEXTS: host}, prompt_template="Mine.").text.endswith("Mine.")
    talk = {"conversationMode": True, HOST_TEXTS: {"conversationTemplate": "Talk, {{agentId}}."}}
    assert assembled(talk).text == "Talk, agent-1."


@pytest.mark.parametrize(
    ("resumed", "text"), [(False, "W fresh\n\nT fresh\n\nGo."), (True, "W again\n\nT again")]
)
def test_host_texts_may_depend_on_session(resumed: bool, text: str) -> None:  # noqa: FBT001
    host = {
        "wakePrompt": {"fresh": "W fresh", "resumed": "W again"},
        "taskMarkdown": {"fresh": "T fresh", "resumed": "T again"},
    }
    assert assembled({HOST_TEXTS: host}, resumed=resumed, prompt_template="Go.").text == text


def test_empty_host_text_removes_section_and_missing_one_does_not() -> None:
    context = {**TASK, "paperclipWake": WAKE}
    assert "The task in full." not in assembled({**context, HOST_TEXTS: {"taskMarkdown": ""}}).text
    assert (
        "The task in full."
        in assembled({**context, HOST_TEXTS: {"taskMarkdown": None, "wakePrompt": 3}}).text
    )
    # without a task text, the description of the wake is shown
    assert "From the wake." in assembled({**context, HOST_TEXTS: {"taskMarkdown": ""}}).text


@pytest.mark.parametrize("template", ["{{missing}}", "{{context.nothing}} \n"])
def test_template_that_renders_empty_is_replaced_by_default(template: str) -> None:
    assert "$PAPERCLIP_API_URL" in assembled(prompt_template=template).text


TEXTS = {
    "paperclipTaskMarkdown": ANY_JSON,
    "paperclipSessionHandoffMarkdown": ANY_JSON,
    "paperclipWake": ANY_WAKE,
}


@given(
    st.fixed_dictionaries({}, optional={**TEXTS, HOST_TEXTS: ANY_JSON}),
    st.booleans(),
    st.none() | st.text(min_size=1),
)
def test_prompt_is_never_empty_and_always_encodable(
    context: dict[str, Any],
    resumed: bool,  # noqa: FBT001
    template: str | None,
) -> None:
    prompt = assembled(context, resumed=resumed, prompt_template=template)
    assert prompt.text.strip()
    assert prompt.text.encode()


def test_template_does_not_show_token_of_runtime_tools() -> None:
    context = {"paperclipRuntimeTools": {"bearerToken": "c4n4ry"}, "other": "shown"}
    text = assembled(
        context, prompt_template="{{context}} {{context.paperclipRuntimeTools.bearerToken}}"
    ).text
    assert "c4n4ry" not in text
    assert "shown" in text


def test_repr_of_prompt_hides_its_text() -> None:
    assert "Ada" not in repr(assembled())
