"""Open work, such as a background task, keeps the Claude CLI running after it has printed a result.

It is looked for in captures (recorded runs), whole or cut, and in synthetic runs.
`allowed_silence()` is 0 if the last result is final, and None if the CLI may be silent for any time.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.captures import ALL, NEW, OLD, recorded

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.claude.open_work import SUB_AGENT_SILENCE, WAKE_UP_LATENESS

Event = dict[str, Any]
INIT: Event = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}
RESULT: Event = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": "done"}
NOTIFIED: Event = {"origin": {"kind": "task-notification"}}
"""Field of a result that the CLI prints because of a notification that a task has ended."""


def message(*blocks: Event, parent: str | None = None) -> Event:
    content = {"id": "m1", "model": "m", "content": list(blocks or [{"type": "text", "text": "Hello"}])}
    return {"type": "assistant", "message": content, "parent_tool_use_id": parent, "uuid": "u"}


def call(name: str, **arguments: Any) -> Event:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}


def tool_result(tool: str, parent: str | None = None) -> Event:
    content = [{"tool_use_id": tool, "type": "tool_result", "content": "ok"}]
    return {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": parent}


def task_event(subtype: str, **fields: Any) -> Event:
    return {"type": "system", "subtype": subtype, "task_id": "t1", "tool_use_id": "toolu_1", **fields}


def list_of_tasks(*listed: Event) -> Event:
    return {"type": "system", "subtype": "background_tasks_changed", "tasks": list(listed)}


def read(*events: Event) -> StreamReader:
    reader = StreamReader()
    for event in events:
        reader.feed(json.dumps(event, separators=(",", ":")).encode() + b"\n")
    return reader


# ── captures ─────────────────────────────────────────────────────────────────────────────────────


def events_of(lines: Sequence[bytes]) -> list[Event]:
    """The complete events among the lines."""
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def is_final(events: list[Event]) -> bool:
    """Whether the last result is the run's end, by an independent implementation of the rule.

    No `init` and no message of the main agent follows the last result, and each task that was started in the
    background has ended.
    """
    results = [at for at, event in enumerate(events) if event["type"] == "result"]
    if not results:
        return False
    for event in events[results[-1] + 1 :]:
        from_main_agent = event["type"] == "assistant" and event["parent_tool_use_id"] is None
        if from_main_agent or event.get("subtype") == "init":
            return False
    started, ended = set(), set()
    for event in events:
        match event.get("subtype"):
            case "task_started" if event.get("is_backgrounded", True):
                started.add(event["task_id"])
            case "task_notification":
                ended.add(event["task_id"])
            case "task_updated" if event["patch"].get("status") in {"completed", "failed", "killed"}:
                ended.add(event["task_id"])
    return started <= ended


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_complete_capture_has_no_open_work(folder: str, name: str) -> None:
    stdout, description = recorded(name, folder)
    reader = StreamReader()
    reader.feed(stdout)
    assert reader.allowed_silence() == (None if description["facts"]["final_result"] is None else 0.0)
    assert reader.open_work.take_wake_up() is None


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_both_implementations_agree_whether_a_result_in_a_cut_capture_is_final(
    folder: str, name: str
) -> None:
    lines = recorded(name, folder)[0].split(b"\n")
    reader = StreamReader()
    for count, line in enumerate(lines[:-1], start=1):
        reader.feed(line + b"\n")
        events = events_of(lines[:count])
        assert (reader.allowed_silence() == 0.0) is is_final(events), line[:200]


@pytest.mark.parametrize("folder", [OLD, NEW])
def test_result_during_a_background_command_is_not_final(folder: str) -> None:
    lines = recorded("23a-background-bash", folder)[0].splitlines(keepends=True)
    reader, after_results = StreamReader(), []
    for line in lines:
        reader.feed(line)
        if b'"type":"result"' in line:
            after_results.append(reader.allowed_silence())
    assert after_results == [None, 0.0]


# ── background tasks ─────────────────────────────────────────────────────────────────────────────


def test_result_before_an_init_or_message_is_not_final() -> None:
    assert read(INIT, message(), RESULT).allowed_silence() == 0.0
    assert read(INIT, message(), RESULT, INIT).allowed_silence() is None
    assert read(INIT, message(), RESULT, message()).allowed_silence() is None
    assert read(INIT, message()).allowed_silence() is None


@pytest.mark.parametrize(
    "end",
    [
        task_event("task_notification", status="completed"),
        task_event("task_notification", status="stopped"),
        task_event("task_updated", patch={"status": "killed"}),
        task_event("task_updated", patch={"end_time": 1}),
        list_of_tasks(),
        list_of_tasks({"task_id": "t1", "ambient": True}),
    ],
)
def test_background_task_is_open_until_its_end(end: Event) -> None:
    begin = (INIT, message(call("Bash")), task_event("task_started", is_backgrounded=True), RESULT)
    assert read(*begin).allowed_silence() is None
    assert read(*begin, task_event("task_updated", patch={"status": "running"})).allowed_silence() is None
    assert read(*begin, end).allowed_silence() == 0.0


def test_foreground_task_is_open_only_after_a_move_to_the_background() -> None:
    begin = (INIT, message(call("Agent")), task_event("task_started", is_backgrounded=False), RESULT)
    assert read(*begin).allowed_silence() == 0.0
    moved = task_event("task_updated", patch={"is_backgrounded": True})
    assert read(*begin[:-1], moved, RESULT).allowed_silence() is None


def test_list_of_background_tasks_replaces_the_known_tasks() -> None:
    begin = (INIT, message(), task_event("task_started"), RESULT)
    assert read(*begin, list_of_tasks({"task_id": "other"})).allowed_silence() is None
    assert read(*begin, list_of_tasks({"task_id": "other"}), list_of_tasks()).allowed_silence() == 0.0
    assert read(*begin, list_of_tasks(), task_event("task_started", task_id="t2")).allowed_silence() is None
    assert read(INIT, message(), list_of_tasks({"task_id": "t1"}), RESULT).allowed_silence() is None
    malformed = list_of_tasks() | {"tasks": "none"}
    assert read(*begin, malformed).allowed_silence() is None


def test_ambient_task_is_not_open() -> None:
    started = task_event("task_started", ambient=True)
    assert read(INIT, message(), started, RESULT).allowed_silence() == 0.0


def test_task_without_an_id_is_not_open() -> None:
    assert read(INIT, message(), task_event("task_started", task_id=7), RESULT).allowed_silence() == 0.0


def test_result_before_the_turn_of_the_prompt_is_not_final() -> None:
    """A resumed session prints the result of a task of the previous run first."""
    early = RESULT | NOTIFIED | {"num_turns": 0, "result": ""}
    assert read(INIT, early).allowed_silence() is None
    assert read(INIT, early, INIT, message(), RESULT).allowed_silence() == 0.0
    assert read(INIT, message(), RESULT, INIT, early).allowed_silence() == 0.0
    assert read(INIT, message(), RESULT | NOTIFIED).allowed_silence() == 0.0


# ── sub-agents without task events ───────────────────────────────────────────────────────────────


def test_sub_agent_is_open_until_its_tool_result() -> None:
    begin = (INIT, message(call("Agent")), message(parent="toolu_1"), RESULT)
    assert read(*begin).allowed_silence() == SUB_AGENT_SILENCE
    assert read(*begin, tool_result("toolu_2", parent="toolu_1")).allowed_silence() == SUB_AGENT_SILENCE
    assert read(*begin, tool_result("toolu_2")).allowed_silence() == SUB_AGENT_SILENCE
    assert read(*begin, tool_result("toolu_1")).allowed_silence() == 0.0
    assert read(*begin, task_event("task_notification", status="failed")).allowed_silence() == 0.0


def test_sub_agent_that_ended_before_the_result_is_not_open() -> None:
    events = (
        INIT,
        message(call("Agent")),
        message(parent="toolu_1"),
        tool_result("toolu_1"),
        message(),
        RESULT,
    )
    assert read(*events).allowed_silence() == 0.0


def test_quoted_tool_result_does_not_end_a_sub_agent() -> None:
    quoted = tool_result("toolu_2")
    quoted["message"]["content"][0]["content"] = json.dumps(tool_result("toolu_1"))
    nested = tool_result("toolu_2") | {"tool_use_result": {"tool_use_id": "toolu_1"}}
    begin = (INIT, message(call("Agent")), message(parent="toolu_1"), RESULT)
    for event in (quoted, nested):
        assert read(*begin, event).allowed_silence() == SUB_AGENT_SILENCE


def test_sub_agent_with_task_events_is_open_until_they_report_its_end() -> None:
    begin = (INIT, message(call("Agent")), task_event("task_started"), tool_result("toolu_1"), RESULT)
    late = message(parent="toolu_1")
    assert read(*begin, late).allowed_silence() is None
    assert read(*begin, late, task_event("task_notification", status="completed")).allowed_silence() == 0.0
    assert read(*begin, task_event("task_updated", patch={"status": "failed"}), late).allowed_silence() == 0.0


# ── wake-ups ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "delay"),
    [
        ({"delaySeconds": 90}, 90),
        ({"delaySeconds": 1}, 60),
        ({"delaySeconds": 86400}, 3600),
        ({"delaySeconds": "soon"}, 3600),
        ({}, 3600),
    ],
)
def test_wake_up_delay_is_clamped(arguments: dict[str, Any], delay: float) -> None:
    reader = read(INIT, message(), message(call("ScheduleWakeup", **arguments)), RESULT)
    assert reader.open_work.take_wake_up() == delay + WAKE_UP_LATENESS
    assert reader.open_work.take_wake_up() is None


def test_latest_of_several_wake_ups_counts_until_it_is_cancelled() -> None:
    long, short = (call("ScheduleWakeup", delaySeconds=seconds) for seconds in (900, 60))
    assert read(INIT, message(long), message(short)).open_work.take_wake_up() == 900 + WAKE_UP_LATENESS
    stop = call("ScheduleWakeup", stop=True)
    assert read(INIT, message(long), message(stop)).open_work.take_wake_up() == 0.0


def test_other_tools_and_texts_schedule_no_wake_up() -> None:
    text_block = {"type": "text", "text": '{"type":"tool_use","name":"ScheduleWakeup"}'}
    nested = call("Bash") | {"input": {"type": "tool_use", "name": "ScheduleWakeup"}}
    for block in (text_block, nested, call("CronCreate", cron="* * * * *")):
        assert read(INIT, message(), message(block)).open_work.take_wake_up() is None
