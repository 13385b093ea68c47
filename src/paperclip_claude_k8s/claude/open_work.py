"""What keeps the Claude CLI running after a result: the run's prompt, background tasks, sub-agents, wake-ups.

- Prompt: a resumed session can print the result of a background task of the previous run before it answers
  this run's prompt.
- Background tasks are tracked by events. `background_tasks_changed` (since CLI 2.1.203) lists the whole set
  each time and replaces what was known. Older versions print only start and end of each task, including
  sub-agents in the foreground. Tasks of the CLI itself (`ambient: true`) do not keep it running.
- A sub-agent without task events is known only by its output. It is open until the result of the tool call
  that started it.
- The tool `ScheduleWakeup` keeps the CLI running until the turn of the wake-up; `CronCreate` does not. No
  field tells which later turn belongs to a wake-up, so a wake-up counts as pending until its time has passed.
"""

import re
from collections.abc import Iterable

from paperclip_claude_k8s.base.json_readers import get_number, get_object, get_objects, get_text
from paperclip_claude_k8s.base.recent_texts import RecentTexts
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.events import Event
from paperclip_claude_k8s.claude.results import answers_the_prompt

WAKE_UP = "ScheduleWakeup"
"""The tool by which an agent schedules a wake-up."""
MIN_WAKE_UP_DELAY, MAX_WAKE_UP_DELAY = 60.0, 3600.0
"""Range of a wake-up's delay in seconds; the CLI itself clamps every delay to it."""
WAKE_UP_LATENESS = 60.0
"""A wake-up is at most this many seconds late, because the CLI wakes up at full minutes only."""
SUB_AGENT_SILENCE = 600.0
"""Seconds for which a sub-agent known only by its output may print nothing: none of its shell commands runs
longer, and by default the CLI itself does not wait longer for background work."""
_TOOL_CALL = re.compile(rb'"tool_use_id":"([^"\\]{1,%d})"' % LIMITS.id_chars)
_END_STATUSES = frozenset({"completed", "failed", "killed", "stopped", "cancelled"})
"""Values of a task's status after which it does nothing more."""


class OpenWork:
    """Tracks open work from the events that the reader passes on."""

    def __init__(self) -> None:
        self.tasks = RecentTexts()
        """Ids of background tasks that have not ended."""
        self.sub_agents = RecentTexts()
        """Tool call ids of open sub-agents that are known only by their output."""
        self._prompt_pending = True
        """No result has answered the run's own prompt yet."""
        self._calls_with_task = RecentTexts()
        """Tool call ids of sub-agents and commands that have task events."""
        self._wake_up: float | None = None
        """What `take_wake_up` returns next."""

    @property
    def allowed_silence(self) -> float | None:
        """Seconds for which open work may keep the CLI silent. None: no limit. 0: no work is open."""
        if self._prompt_pending or self.tasks:
            return None
        return SUB_AGENT_SILENCE if self.sub_agents else 0.0

    def take_wake_up(self) -> float | None:
        """Seconds until the latest of the wake-ups that were requested since the previous call.

        0: the agent cancelled its wake-ups. None: there was no new request.
        """
        requested, self._wake_up = self._wake_up, None
        return requested

    def add_result(self, event: Event) -> None:
        self._prompt_pending = self._prompt_pending and not answers_the_prompt(event)

    def add_message(self, parent: str, blocks: Iterable[object]) -> None:
        """Take an `assistant` event. `parent`: the call that started its sub-agent; empty: main agent."""
        if parent and parent not in self._calls_with_task:
            self.sub_agents.add(parent)
        for block in blocks:
            if isinstance(block, dict) and block.get("type") == "tool_use" and block.get("name") == WAKE_UP:
                self._request_wake_up(get_object(block, "input"))

    def may_end_sub_agent(self, line: bytes) -> bool:
        """Whether this line may hold the result of a sub-agent's call. A cheap check with false positives."""
        calls = _TOOL_CALL.findall(line)
        return any(call.decode("utf-8", "replace") in self.sub_agents for call in calls)

    def tool_output(self, event: Event) -> None:
        """Take a `user` event: the result of a call by the main agent ends the sub-agent it started."""
        if not event.get("parent_tool_use_id"):
            for block in get_objects(get_object(event, "message"), "content"):
                self.sub_agents.discard(get_text(block, "tool_use_id"))

    def task_started(self, event: Event) -> None:
        if call := get_text(event, "tool_use_id"):
            self._calls_with_task.add(call)
            self.sub_agents.discard(call)
        if not event.get("ambient") and event.get("is_backgrounded") is not False:
            self.tasks.add(get_text(event, "task_id"))

    def task_updated(self, event: Event) -> None:
        patch = get_object(event, "patch")
        if get_text(patch, "status") in _END_STATUSES or get_number(patch, "end_time") is not None:
            self.tasks.discard(get_text(event, "task_id"))
        elif patch.get("is_backgrounded") is True:
            self.tasks.add(get_text(event, "task_id"))

    def task_ended(self, event: Event) -> None:
        """Take a `task_notification`: the CLI prints one for every task that has ended, in whatever way."""
        self.tasks.discard(get_text(event, "task_id"))
        self.sub_agents.discard(get_text(event, "tool_use_id"))

    def tasks_changed(self, event: Event) -> None:
        if isinstance(event.get("tasks"), list):
            tasks = get_objects(event, "tasks")
            self.tasks.replace(get_text(task, "task_id") for task in tasks if not task.get("ambient"))

    def _request_wake_up(self, tool_input: Event) -> None:
        if tool_input.get("stop") is True:
            self._wake_up = 0.0
            return
        requested = get_number(tool_input, "delaySeconds")
        delay = (
            MAX_WAKE_UP_DELAY
            if requested is None
            else min(max(requested, MIN_WAKE_UP_DELAY), MAX_WAKE_UP_DELAY)
        )
        self._wake_up = max(self._wake_up or 0.0, delay + WAKE_UP_LATENESS)
