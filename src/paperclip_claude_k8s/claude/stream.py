"""Reads the CLI's output into a `Transcript`: one pass, chunks of any size, bounded memory.

Most bytes of a run are tool results and messages whose content does not matter for the outcome. The reader
recognises such lines by their first bytes and does not parse them. It parses every other line and passes the
event to a handler of the table `_HANDLERS`. `docs/cli-events.md` describes the events.

The last `result` is the run's end only if no `init` and no message of the main agent follows it: a background
task that ends makes the CLI continue with another turn. For example, in

    init, assistant, result A, init, assistant, result B

result B is the run's end, and result A counts for usage and cost only.
"""

from collections.abc import Callable, Iterator

from paperclip_claude_k8s.base.json_readers import get_list, get_number, get_object, get_objects, get_text
from paperclip_claude_k8s.base.json_sizes import is_parsed
from paperclip_claude_k8s.base.session_ids import as_session_id
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.accounting import UsageTracker
from paperclip_claude_k8s.claude.assistant_texts import SHORT_LINE, AssistantTexts
from paperclip_claude_k8s.claude.event_lines import events_beside, without_control
from paperclip_claude_k8s.claude.events import (
    Event,
    count,
    get_name,
    read_event,
    read_json,
)
from paperclip_claude_k8s.claude.excerpt import Excerpt
from paperclip_claude_k8s.claude.open_work import WAKE_UP, OpenWork
from paperclip_claude_k8s.claude.partial_line import PartialLine
from paperclip_claude_k8s.claude.result_fields import known_fields
from paperclip_claude_k8s.claude.results import is_success, unexpected_subtype
from paperclip_claude_k8s.claude.transcript import ModelChange, Transcript

SKIPPED_PREFIXES = (
    b'{"type":"user",',
    b'{"type":"stream_event",',
    b'{"type":"system","subtype":"thinking_tokens",',
    b'{"type":"tool_progress",',
)
"""First bytes of events that do not matter for the outcome, except the end of a sub-agent (`user`)."""
_INIT = b'{"type":"system","subtype":"init"'
_ASSISTANT = b'{"type":"assistant",'
_RESULT = b'"type":"result"'
"""Part of a result. Text of the model never contains it unescaped, but the input of a tool call may."""
_MAIN_AGENT = b'"parent_tool_use_id":null'
_ERROR, _SUPERSEDES = b'"error":', b'"supersedes":'
"""Fields for which a message must be parsed. Text of the model never contains them unescaped."""
_WAKE_UP = f'"name":"{WAKE_UP}"'.encode()
"""A tool call for which a message must be parsed."""
_OBJECT_START = b'{"'
PLAIN_CHARS = 2000
"""Characters kept of each plain line; an error message may quote them."""
PLAIN_BYTES = 4 * PLAIN_CHARS
"""Bytes that may be needed for `PLAIN_CHARS` characters of UTF-8."""
PLAIN_LINES = 20
"""Number of plain lines kept, from the start: enough for the messages of a CLI that cannot start."""
LAST_ITEMS = 100
"""Number of errors, and of model changes, that are kept: the last ones."""
STDERR_BYTES = 4096
"""Bytes of stderr kept, from the end."""


class StreamReader:
    """Reads what the CLI printed, fed in pieces of any size; `finish` then returns the transcript."""

    def __init__(self) -> None:
        self.session_id: str | None = None
        self.announced_model = ""
        """The model that `init` announced."""
        self.api_key_source = ""
        self.result: bytes | None = None
        """The line of the last `result`; None as soon as the CLI has continued after it."""
        self.unread_result = False
        """The last result is on a line that is too large to be parsed."""
        self.overtaken = False
        """The CLI continued after the last result."""
        self.open_work = OpenWork()
        self.usage = UsageTracker()
        self.assistant_texts = AssistantTexts()
        self.has_content = False
        """The main agent produced a content block or output tokens."""
        self.main_events = 0
        """Number of `assistant` events of the main agent."""
        self.assistant_errors: tuple[str, ...] = ()
        self.rate_limit: Event | None = None
        self.retries = self.compactions = self._lines = 0
        self.model_changes: tuple[ModelChange, ...] = ()
        self._plain_lines: tuple[str, ...] = ()
        self._stderr = b""
        self._partial_line = PartialLine()
        self._excerpt = Excerpt()

    def feed(self, block: bytes) -> None:
        self._excerpt.add(block)
        lines = block.split(b"\n")
        rest = lines.pop()
        if lines and self._partial_line:
            self._partial_line.add(lines[0])
            lines[0] = self._partial_line.take()
        for line in lines:
            self._add_line(line)
        self._partial_line.add(rest)

    def feed_stderr(self, block: bytes) -> None:
        self._stderr = (self._stderr + block[-STDERR_BYTES:])[-STDERR_BYTES:]

    def allowed_silence(self) -> float | None:
        """Seconds for which the CLI may now print nothing and still have work to do.

        0: the final result was read and no work is open, so the CLI should exit. None: there is no final
        result yet, or open work, such as a background task, may take any time. Scheduled wake-ups are not
        included.
        """
        return self.open_work.allowed_silence if self.result is not None else None

    def finish(self) -> Transcript:
        """The transcript of everything fed so far. A last line without a newline is read as complete."""
        self._add_line(self._partial_line.take())
        printed = None if self.result is None else read_event(self.result) or {}
        result = None if printed is None else known_fields(printed)
        return Transcript(
            session_id=self.session_id,
            init_model=self.announced_model,
            model=self.assistant_texts.model() or self.announced_model,
            summary=self.assistant_texts.summary(result),
            reported_usage=self.usage.reported,
            result=result,
            overtaken=self.overtaken,
            cut_short=result is None and (self.has_content or self.overtaken or self.unread_result),
            has_content=self.has_content,
            empty_reply=_is_empty_reply(self, result),
            stop_reason=self.assistant_texts.stop_reason(),
            unread_result=self.unread_result,
            warnings=tuple(_warnings(self, printed or {}, result)),
            assistant_errors=self.assistant_errors,
            retries=self.retries,
            compactions=self.compactions,
            model_changes=self.model_changes,
            first_plain_line=self._plain_lines[0] if self._plain_lines else "",
            plain_lines=self._plain_lines,
            stderr_tail=self._stderr.decode("utf-8", "replace"),
            api_key_source=self.api_key_source,
            rate_limit=self.rate_limit,
            excerpt=bytes(self._excerpt),
            lines=self._lines,
            bytes=self._excerpt.bytes,
        )

    def _add_line(self, line: bytes) -> None:
        if not line or line.isspace():
            return
        self._lines += 1
        if line.endswith(b"}"):
            open_work = self.open_work
            if line.startswith(SKIPPED_PREFIXES) and not (
                open_work.sub_agents and open_work.may_end_sub_agent(line)
            ):
                return
            only_text_matters = self.has_content and self.result is None and not self.unread_result
            if only_text_matters and line.startswith(_ASSISTANT) and _is_plain_message(line):
                self.main_events += 1
                self.assistant_texts.add(line, has_text=b'"type":"text"' in line)
                return
        self._parse_line(line)

    def _parse_line(self, line: bytes) -> None:
        if len(line) > SHORT_LINE and not is_parsed(line):
            self._add_large_line(line)
            return
        event = read_event(line)
        if event is not None:
            self._handle(event, line)
            return
        found = list(events_beside(line, self.session_id))
        for event, source in found:
            self._handle(event, source)
        if not found:
            self._add_non_event(line if len(line) > LIMITS.control_bytes else without_control(line))

    def note_continuation(self) -> None:
        """The CLI continues: the last result was not the run's end, and counts for usage only."""
        self.overtaken = self.overtaken or self.result is not None or self.unread_result
        self.result, self.unread_result = None, False

    def _handle(self, event: Event, line: bytes) -> None:
        handle = _HANDLERS.get((get_text(event, "type"), get_text(event, "subtype")))
        if handle is None:
            handle = _HANDLERS.get((get_text(event, "type"), ""))
        if handle is not None:
            handle(self, event, line)

    def _add_non_event(self, line: bytes) -> None:
        """Take plain text or a truncated event: on exit the CLI drops what the pipe has not accepted."""
        if line.startswith(_ASSISTANT):
            if _MAIN_AGENT in line or b'"parent_tool_use_id"' not in line:
                self.has_content = True
                self.note_continuation()
            return
        if line.startswith(_INIT):
            self.note_continuation()
        truncated = line.startswith(_OBJECT_START) and read_json(line) is None
        if line and not truncated and len(self._plain_lines) < PLAIN_LINES:
            self._plain_lines += (line[:PLAIN_BYTES].decode("utf-8", "replace").strip()[:PLAIN_CHARS],)

    def _add_large_line(self, line: bytes) -> None:
        """Take a line that is too large to be parsed. The relay's summary replaces it if it is a result."""
        if _RESULT in line and not line.startswith((*SKIPPED_PREFIXES, _ASSISTANT)):
            self.note_continuation()
            self.unread_result = True
        else:
            self._add_non_event(line if line.startswith(_ASSISTANT) else line[:PLAIN_BYTES])


def _is_plain_message(line: bytes) -> bool:
    """Whether the line is a message of the main agent that need not be parsed."""
    must_parse = _ERROR in line or _SUPERSEDES in line or _WAKE_UP in line
    return line.rfind(_MAIN_AGENT) >= 0 and not must_parse  # rfind: the field stands near the end


def _is_empty_reply(reader: StreamReader, result: Event | None) -> bool:
    """No result and only empty messages, or a result by which the CLI itself reports an empty reply."""
    if result is None:
        return reader.main_events > 0 and not reader.has_content
    completed = result.get("terminal_reason") == "completed"
    failed = result.get("subtype") == "error_during_execution"
    return completed and failed and not reader.main_events


# ── one handler per kind of event ───────────────────────────────────────────────────────────────────


def _init(reader: StreamReader, event: Event, _: bytes) -> None:
    """A run has several `init` events if the CLI continues after a result; all name the same session."""
    reader.note_continuation()
    reader.usage.take_version(event)
    reader.announced_model, reader.api_key_source = get_name(event, "model"), get_name(event, "apiKeySource")
    reader.session_id = as_session_id(event.get("session_id")) or reader.session_id


def _assistant(reader: StreamReader, event: Event, line: bytes) -> None:
    if error := get_name(event, "error"):
        reader.assistant_errors = (*reader.assistant_errors[1 - LAST_ITEMS :], error)
    reader.assistant_texts.retract(get_list(event, "supersedes"))
    message = get_object(event, "message")
    blocks = get_list(message, "content")
    reader.open_work.add_message(get_text(event, "parent_tool_use_id"), blocks)
    if event.get("parent_tool_use_id"):
        return
    reader.note_continuation()
    reader.main_events += 1
    reader.has_content |= bool(blocks) or count(get_object(message, "usage"), "output_tokens") > 0
    reader.assistant_texts.add(
        line, has_text=any(isinstance(b, dict) and b.get("type") == "text" for b in blocks)
    )


def _result(reader: StreamReader, event: Event, line: bytes) -> None:
    """The last result counts: a background task that ends makes the CLI continue with another turn."""
    reader.result = line
    reader.overtaken = reader.unread_result = False
    reader.open_work.add_result(event)
    reader.usage.add_result(event)


def _rate_limit(reader: StreamReader, event: Event, _: bytes) -> None:
    info = get_object(event, "rate_limit_info")
    reader.rate_limit = {"status": get_name(info, "status"), "resetsAt": get_number(info, "resetsAt")}


def _retry(reader: StreamReader, _event: Event, _line: bytes) -> None:
    reader.retries += 1


def _compaction(reader: StreamReader, _event: Event, _line: bytes) -> None:
    reader.compactions += 1


def _model_change(reader: StreamReader, event: Event, _: bytes) -> None:
    reader.assistant_texts.retract(get_list(event, "retracted_message_uuids"))
    names = ("original_model", "fallback_model", "trigger")
    change = ModelChange(*(get_name(event, name) for name in names))
    reader.model_changes = (*reader.model_changes[1 - LAST_ITEMS :], change)


def _open_work(track: Callable[[OpenWork, Event], None]) -> Callable[[StreamReader, Event, bytes], None]:
    """A handler that only passes the event on to the reader's `OpenWork`."""
    return lambda reader, event, _: track(reader.open_work, event)


_HANDLERS: dict[tuple[str, str], Callable[[StreamReader, Event, bytes], None]] = {
    ("system", "init"): _init,
    ("system", "api_retry"): _retry,
    ("system", "compact_boundary"): _compaction,
    ("system", "model_fallback"): _model_change,
    ("system", "model_refusal_fallback"): _model_change,
    ("system", "task_started"): _open_work(OpenWork.task_started),
    ("system", "task_updated"): _open_work(OpenWork.task_updated),
    ("system", "task_notification"): _open_work(OpenWork.task_ended),
    ("system", "background_tasks_changed"): _open_work(OpenWork.tasks_changed),
    ("assistant", ""): _assistant,
    ("user", ""): _open_work(OpenWork.tool_output),
    ("result", ""): _result,
    ("rate_limit_event", ""): _rate_limit,
}


def _warnings(reader: StreamReader, printed: Event, result: Event | None) -> Iterator[str]:
    """Reasons to distrust the result or its usage. `printed`: the result with all of its fields."""
    for change in reader.model_changes:
        trigger = f" ({change.trigger})" if change.trigger else ""
        yield f"the CLI continued with model {change.used} instead of {change.requested}{trigger}"
    if reader.overtaken:
        yield "the CLI continued after its last result: usage and cost are those up to that result"
    if reader.unread_result:
        yield "the last result is too large to be read: see the agent's output"
    if result is not None:
        if printed.get("structured_output") is not None and result.get("structured_output") is None:
            yield "structured_output is too large for resultJson: see the agent's output"
        yield from _result_warnings(result)


def _result_warnings(result: Event) -> Iterator[str]:
    """What is odd about the result. A success remains a success."""
    if not is_success(result):
        return
    if subtype := unexpected_subtype(result):
        yield f"the result's subtype is {subtype} instead of success; no error is flagged, so it is a success"
    if result.get("result") == "":
        yield "the result is empty"
    if "stop_reason" in result and result["stop_reason"] is None and result.get("terminal_reason"):
        yield "stop_reason is null: the answer may have been truncated"
    denials = get_objects(result, "permission_denials")
    denied = {get_name(denial, "tool_name") for denial in denials}
    if denied - {""}:
        yield f"permission denied for tools: {', '.join(sorted(denied - {''}))}"
