"""What the Claude CLI reports beside its answers, as warnings about a run that succeeds nevertheless."""

from collections.abc import Iterable, Iterator

from paperclip_claude_k8s.base.json_readers import get_list, get_object, get_objects, get_text
from paperclip_claude_k8s.base.recent_texts import RecentTexts
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.events import Event, as_name, get_name, read_json
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode

STOP_TOOLS = ("TaskStop", "KillShell", "KillBash")
"""Tools by which the agent itself stops a background task."""
_STOPPED = frozenset({"stopped", "killed", "cancelled"})
_UNAVAILABLE = frozenset({"failed", "needs-auth"})
_HOOK_REASONS = frozenset({"hook_stopped", "stop_hook_prevented"})
_UNKNOWN_MODEL = "[claude-code:unrecognized_model] "
NAMED_ITEMS = 20
"""Largest number of tasks, servers or tools that one warning names."""
MAX_TASKS = 1000
"""Largest number of background tasks whose descriptions are remembered."""


class RunNotices:
    """Collects notices from the events that the reader passes on."""

    def __init__(self) -> None:
        self.lost_session = False
        """The CLI could not save the session's transcript."""
        self.stopped_tasks: dict[str, str] = {}
        """Id → description of tasks that were stopped after the agent's last message or last `init`."""
        self._tasks: dict[str, str] = {}
        """Id → description of the background tasks that started in this run."""
        self._stopped_by_agent = RecentTexts()
        self._servers: dict[str, str] = {}
        """Name → status of the MCP servers that the agent could not use."""
        self._hook = ""
        """Why a hook stopped the agent; empty if no hook gave a reason."""

    def init(self, event: Event) -> None:
        servers = get_objects(event, "mcp_servers")[: LIMITS.warnings]
        self._servers = {
            name: status
            for server in servers
            if (name := get_name(server, "name")) and (status := get_name(server, "status")) in _UNAVAILABLE
        }
        self.stopped_tasks.clear()

    def tool_calls(self, blocks: Iterable[object]) -> None:
        """Take the content blocks of an `assistant` event."""
        for block in blocks:
            if isinstance(block, dict) and block.get("name") in STOP_TOOLS:
                tool_input = get_object(block, "input")
                for key in ("task_id", "shell_id", "bash_id"):
                    self._stopped_by_agent.add(tool_input.get(key))

    def task_started(self, event: Event) -> None:
        if not event.get("ambient") and len(self._tasks) < MAX_TASKS:
            self._tasks[get_text(event, "task_id")[: LIMITS.id_chars]] = get_name(event, "description")

    def task_ended(self, event: Event) -> None:
        task, was_stopped = get_text(event, "task_id"), get_text(event, "status") in _STOPPED
        if was_stopped and task in self._tasks and task not in self._stopped_by_agent:
            self.stopped_tasks[task] = self._tasks[task]

    def informational(self, event: Event) -> None:
        if event.get("prevent_continuation") is True:
            outcome = get_object(event, "prompt_submit_outcome")
            reason = get_text(outcome, "reason") or get_text(event, "content").partition("\n\n\n")[0]
            self._hook = as_name(reason.replace("\n", " "))

    def session_writes_lost(self, event: Event) -> None:
        self.lost_session = self.lost_session or "transcript" in get_list(event, "lost")

    def warnings(
        self, result: Event, open_tasks: Iterable[str], lines: Iterable[str]
    ) -> Iterator[RunWarning]:
        """The warnings about a run that succeeded.

        `open_tasks`: ids of tasks that did not end; `lines`: lines that are no events, from both streams.
        """
        if self.stopped_tasks:
            text = (
                f"background tasks were stopped before they finished: {_joined(self.stopped_tasks.values())}"
            )
            yield RunWarning(WarningCode.BACKGROUND_TASK_STOPPED, text)
        unfinished = {task: self._tasks[task] for task in open_tasks if task in self._tasks}
        if unfinished:
            names = _joined(unfinished.values())
            text = f"the CLI exited while background tasks had not finished, and ended them: {names}"
            yield RunWarning(WarningCode.BACKGROUND_TASK_UNFINISHED, text)
        if self._hook or result.get("terminal_reason") in _HOOK_REASONS:
            reason = f": {self._hook}" if self._hook else ""
            yield RunWarning(WarningCode.HOOK_STOPPED_RUN, f"a hook stopped the agent{reason}")
        if self._servers:
            names = _joined(f"{name} ({status})" for name, status in self._servers.items())
            text = f"MCP servers were not available, so the agent had none of their tools: {names}"
            yield RunWarning(WarningCode.MCP_SERVER_UNAVAILABLE, text)
        if self.lost_session:
            text = "the disk was full, so the CLI could not save the session: it is not offered for resuming"
            yield RunWarning(WarningCode.SESSION_NOT_SAVED, text)
        for model in sorted({model for line in lines if (model := _unknown_model(line))})[:NAMED_ITEMS]:
            yield RunWarning(
                WarningCode.MODEL_UNKNOWN,
                f"the CLI does not know model {model}: its context window and cost are guesses",
            )


def denied_tools(result: Event) -> str:
    """The names of the tools that the agent was not allowed to use; empty if there are none."""
    denied = {get_name(denial, "tool_name") for denial in get_objects(result, "permission_denials")}
    return _joined(sorted(denied - {""}))


def _unknown_model(line: str) -> str:
    """The model that the CLI reports as unknown on this line; empty if the line says something else."""
    text = line.strip()
    if not text.startswith(_UNKNOWN_MODEL):
        return ""
    fields = read_json(text.removeprefix(_UNKNOWN_MODEL).encode("utf-8", "replace"))
    return get_name(fields, "model") if isinstance(fields, dict) else ""


def _joined(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - NAMED_ITEMS} more" if len(shown) > NAMED_ITEMS else ""
    return ", ".join(name or "(without description)" for name in shown[:NAMED_ITEMS]) + more
