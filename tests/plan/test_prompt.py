from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON, ANY_WAKE

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.prompt import HOST_TEXTS, Prompt, assemble_prompt

WAKE = {"reason": "issue_commented", "issue": {"id": "i", "title": "T", "description": "Told by the wake."}}
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
    return assemble_prompt(ctx, AdapterConfig(**config), resumed=resumed)


def test_a_bare_heartbeat_is_told_who_it_is_and_where_to_ask() -> None:
    text = assembled().text
    assert all(part in text for part in ("Ada", "agent-1", "company-1", "run-1"))
    assert all(part in text for part in ("$PAPERCLIP_API_URL", "$PAPERCLIP_API_KEY"))
    assert "{{" not in text


def test_sections_stand_in_the_hosts_order_and_are_counted() -> None:
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
    blanks = 4 * len("\n\n")
    assert (
        sum(prompt.metrics.values()) - prompt.metrics["promptChars"] + blanks == prompt.metrics["promptChars"]
    )


def test_the_task_text_stands_in_for_the_wakes_description() -> None:
    assert "Told by the wake." in assembled({"paperclipWake": WAKE}).text
    assert "Told by the wake." not in assembled({**TASK, "paperclipWake": WAKE}).text


@pytest.mark.parametrize(
    ("context", "resumed", "template", "bootstrap"),
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
def test_the_template_is_left_out_where_the_wake_says_it_all(
    context: dict[str, Any],
    resumed: bool,  # noqa: FBT001
    template: bool,  # noqa: FBT001
    bootstrap: bool,  # noqa: FBT001
) -> None:
    prompt = assembled(
        context, resumed=resumed, prompt_template="Template.", bootstrap_prompt_template="Boot."
    )
    assert ("Template." in prompt.text) is template
    assert bool(prompt.metrics["heartbeatPromptChars"]) is template
    assert ("Boot." in prompt.text) is bootstrap


def test_a_resumed_session_gets_the_task_in_short() -> None:
    text = assembled({**TASK, "paperclipWake": WAKE}, resumed=True).text
    assert "The task in short." in text
    assert "The task in full." not in text


def test_an_operators_template_is_joined_by_the_contract_ours_holds_already() -> None:
    context = {"paperclipWake": WAKE}
    assert "### How to end this run" in assembled(context, prompt_template="Go.").text
    assert "### How to end this run" not in assembled(context).text


def test_a_conversation_has_a_template_of_its_own() -> None:
    talk, work = assembled({"conversationMode": True}).text, assembled({"conversationMode": "true"}).text
    assert "in a conversation" in talk
    assert "in a conversation" not in work
    assert assembled({"conversationMode": True}, prompt_template="Mine.").text == "Mine."
    resumed = assembled({"conversationMode": True, "paperclipWake": WAKE}, resumed=True).text
    assert "### How to end this run" not in resumed


def test_texts_of_the_host_win_over_ours() -> None:
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
def test_the_host_may_give_a_text_for_each_kind_of_session(resumed: bool, text: str) -> None:  # noqa: FBT001
    host = {
        "wakePrompt": {"fresh": "W fresh", "resumed": "W again"},
        "taskMarkdown": {"fresh": "T fresh", "resumed": "T again"},
    }
    assert assembled({HOST_TEXTS: host}, resumed=resumed, prompt_template="Go.").text == text


def test_an_empty_text_of_the_host_is_an_answer_and_a_missing_one_is_not() -> None:
    context = {**TASK, "paperclipWake": WAKE}
    assert "The task in full." not in assembled({**context, HOST_TEXTS: {"taskMarkdown": ""}}).text
    assert (
        "The task in full."
        in assembled({**context, HOST_TEXTS: {"taskMarkdown": None, "wakePrompt": 3}}).text
    )
    assert "Told by the wake." in assembled({**context, HOST_TEXTS: {"taskMarkdown": ""}}).text


@pytest.mark.parametrize("template", ["{{missing}}", "{{context.nothing}} \n"])
def test_a_template_that_renders_to_nothing_is_replaced_by_the_default(template: str) -> None:
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
def test_no_host_makes_an_empty_or_an_unsendable_prompt(
    context: dict[str, Any],
    resumed: bool,  # noqa: FBT001
    template: str | None,
) -> None:
    prompt = assembled(context, resumed=resumed, prompt_template=template)
    assert prompt.text.strip()
    assert prompt.text.encode()


def test_no_template_shows_the_token_of_the_runtime_tools() -> None:
    context = {"paperclipRuntimeTools": {"bearerToken": "c4n4ry"}, "other": "shown"}
    text = assembled(
        context, prompt_template="{{context}} {{context.paperclipRuntimeTools.bearerToken}}"
    ).text
    assert "c4n4ry" not in text
    assert "shown" in text


def test_a_prompt_does_not_show_in_its_repr() -> None:
    assert "Ada" not in repr(assembled())
