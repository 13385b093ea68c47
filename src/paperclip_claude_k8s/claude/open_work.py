"""What makes the CLI go on after a result: its prompt, background tasks, sub-agents, wake-ups.

A resumed session can print the result of a task of the run before ahead of its own prompt's turn.

Background tasks are told by events. `background_tasks_changed` (since 2.1.203) is the whole set each time and
replaces what was known. Older versions print only each task's start and end, for sub-agents in the foreground
too. Ambient tasks (`ambient: true`) are the CLI's own, and it does not wait for them.

A sub-agent without task events is known by its output alone: it is open until the result of the tool call
that started it.

`ScheduleWakeup` keeps `--print` alive until the wake-up's turn; `CronCreate` does not (EVENTS.md 5). Nothing
tells which later turn is a wake-up's, so a wake-up counts as pending until its time has passed.
"""

from collections.abc import Iterable

from paperclip_claude_k8s.claude.events import Event, inner, items, number, text
from paperclip_claude_k8s.claude.results import answers_the_prompt

WAKE_UP = "ScheduleWakeup"
"""The tool by which an agent asks to be woken up."""
SHORTEST_WAKE_UP, LONGEST_WAKE_UP = 60.0, 3600.0
"""Seconds; the CLI itself moves every delay between these two."""
WAKE_UP_LATENESS = 60.0
"""Seconds that a wake-up may come late: the CLI wakes up at full minutes only."""
SUB_AGENT_SILENCE = 600.0
"""Seconds for which a sub-agent known by its output alone may be silent: no shell command of it runs longer,
and by default the CLI itself waits no longer for what is in the background."""
_ENDED = frozenset({"completed", "failed", "killed", "stopped", "cancelled"})
"""Values of a task's status after which it does nothing more."""


class OpenWork:
    """Told what the reader sees; knows what is open."""

    def __init__(self) -> None:
        self.tasks: set[str] = set()
        """Ids of background tasks that have not ended."""
        self.sub_agents: set[str] = set()
        """Tool call ids of sub-agents that are known by their output alone and have not ended."""
        self._prompt = True
        """The run's own prompt has no result yet."""
        self._with_task: set[str] = set()
        """Tool call ids of sub-agents and commands that task events tell about."""
        self._wake_up: float | None = None

    @property
    def silence(self) -> float | None:
        """Seconds for which the CLI may be silent because of it; None: for as long as that takes."""
        if self._prompt or self.tasks:
            return None
        return SUB_AGENT_SILENCE if self.sub_agents else 0.0

    def take_wake_up(self) -> float | None:
        """The wake-up asked for since the last call: seconds until it is surely due, the longest counts.

        0: the agent gave its wake-ups up. None: nothing new.
        """
        asked, self._wake_up = self._wake_up, None
        return asked

    def result(self, event: Event) -> None:
        self._prompt = self._prompt and not answers_the_prompt(event)

    def answered(self, parent: str, blocks: Iterable[object]) -> None:
        """An answer; `parent` is the tool call that started the sub-agent, empty for the main agent."""
        if parent and parent not in self._with_task:
            self.sub_agents.add(parent)
        for block in blocks:
            if isinstance(block, dict) and block.get("type") == "tool_use" and block.get("name") == WAKE_UP:
                self._wake_up_asked(inner(block, "input"))

    def may_end_with(self, line: bytes) -> bool:
        """Whether this line may be the result of a call that started a sub-agent; cheap, and may err."""
        return any(f'"tool_use_id":"{call}"'.encode() in line for call in self.sub_agents)

    def tool_output(self, event: Event) -> None:
        """A `user` event: results of tool calls of the main agent end the sub-agents of these calls."""
        if not event.get("parent_tool_use_id"):
            blocks = [block for block in items(inner(event, "message"), "content") if isinstance(block, dict)]
            self.sub_agents.difference_update(text(block, "tool_use_id") for block in blocks)

    def task_started(self, event: Event) -> None:
        if call := text(event, "tool_use_id"):
            self._with_task.add(call)
            self.sub_agents.discard(call)
        if not event.get("ambient") and event.get("is_backgrounded") is not False:
            self._opened(event)

    def task_updated(self, event: Event) -> None:
        patch = inner(event, "patch")
        if text(patch, "status") in _ENDED or number(patch, "end_time") is not None:
            self.tasks.discard(text(event, "task_id"))
        elif patch.get("is_backgrounded") is True:
            self._opened(event)

    def task_ended(self, event: Event) -> None:
        """A `task_notification`: the CLI prints it once a task has ended, in whatever way."""
        self.tasks.discard(text(event, "task_id"))
        self.sub_agents.discard(text(event, "tool_use_id"))

    def tasks_changed(self, event: Event) -> None:
        if isinstance(event.get("tasks"), list):
            tasks = [task for task in items(event, "tasks") if isinstance(task, dict)]
            self.tasks = {text(task, "task_id") for task in tasks if not task.get("ambient")} - {""}

    def _opened(self, event: Event) -> None:
        if task := text(event, "task_id"):
            self.tasks.add(task)

    def _wake_up_asked(self, how: Event) -> None:
        if how.get("stop") is True:
            self._wake_up = 0.0
            return
        asked = number(how, "delaySeconds")
        delay = LONGEST_WAKE_UP if asked is None else min(max(asked, SHORTEST_WAKE_UP), LONGEST_WAKE_UP)
        self._wake_up = max(self._wake_up or 0.0, delay + WAKE_UP_LATENESS)
