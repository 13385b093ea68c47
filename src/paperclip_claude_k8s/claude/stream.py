"""Reads the Claude CLI's output into a `Transcript`: one pass, chunks of any size, bounded memory.

Most bytes of a run are tool results and messages whose content does not matter for the outcome. The reader
recognises such lines by their first bytes and does not parse them. It parses every other line and passes the
event to its handler (`event_handlers`). `docs/cli-events.md` describes the events.

The last `result` is the run's end only if no `init` and no message of the main agent follows it: a background
task that ends makes the CLI continue with another turn. For example, in

    init, assistant, result A, init, assistant, result B

result B is the run's end, and result A counts for usage and cost only.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.base.json_sizes import small_enough_to_parse
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.assistant_texts import SHORT_LINE
from paperclip_claude_k8s.claude.event_handlers import handler_of
from paperclip_claude_k8s.claude.event_lines import events_beside, without_control
from paperclip_claude_k8s.claude.events import Event, read_event, read_json
from paperclip_claude_k8s.claude.excerpt import Excerpt
from paperclip_claude_k8s.claude.open_work import WAKE_UP
from paperclip_claude_k8s.claude.partial_line import PartialLine
from paperclip_claude_k8s.claude.result_fields import known_fields
from paperclip_claude_k8s.claude.result_warnings import result_warnings
from paperclip_claude_k8s.claude.results import is_success
from paperclip_claude_k8s.claude.run_notices import STOP_TOOLS
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode
from paperclip_claude_k8s.claude.stream_state import StreamState
from paperclip_claude_k8s.claude.torn_lines import torn_event
from paperclip_claude_k8s.claude.transcript import Transcript

SKIPPED_PREFIXES = (
    b'{"type":"user",',
    b'{"type":"stream_event",',
    b'{"type":"system","subtype":"thinking_tokens",',
    b'{"type":"tool_progress",',
)
"""First bytes of events that do not matter for the outcome, except a `user` event that ends a sub-agent."""
_INIT = b'{"type":"system","subtype":"init"'
_ASSISTANT = b'{"type":"assistant",'
_RESULT = b'"type":"result"'
"""Each result contains it. Text of the model never does, as its quotes are escaped; a tool's input may."""
_MAIN_AGENT = b'"parent_tool_use_id":null'
_ERROR, _SUPERSEDES = b'"error":', b'"supersedes":'
"""Fields for which a message must be parsed. Text of the model never contains them unescaped."""
_PARSED_CALLS = re.compile("|".join(f'"name":"{tool}"' for tool in (WAKE_UP, *STOP_TOOLS)).encode())
"""Tool calls for which a message must be parsed."""
_OBJECT_START = b'{"'
PLAIN_CHARS = 2000
"""Characters kept of each plain line; an error message may quote them."""
PLAIN_BYTES = 4 * PLAIN_CHARS
"""Bytes that may be needed for `PLAIN_CHARS` characters of UTF-8."""
PLAIN_LINES = 20
"""Number of plain lines kept, from the start: enough for the messages of a CLI that cannot start."""
LAST_PLAIN_LINES = 30
"""Number of later plain lines kept, from the end: enough for the report of a program that crashes."""
STDERR_BYTES = 4096
"""Bytes of stderr kept, from the end."""


class StreamReader(StreamState):
    """Reads what the CLI printed, fed in pieces of any size; `finish` then returns the transcript."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = 0
        self._plain_lines: tuple[str, ...] = ()
        self._last_plain_lines: deque[str] = deque(maxlen=LAST_PLAIN_LINES)
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
            session_id=None if self.notices.lost_session else self.session_id,
            session_lost=self.notices.lost_session,
            init_model=self.announced_model,
            model=self.assistant_texts.model() or self.announced_model,
            summary=self.assistant_texts.summary(result),
            reported_usage=replace(self.usage.reported, unfinished_tokens=self.answer_usage.total),
            result=result,
            overtaken=self.overtaken,
            cut_short=result is None
            and (self.has_content or self.overtaken or self.result_too_large or self.torn_event == "result"),
            torn_event=self.torn_event,
            has_content=self.has_content,
            empty_reply=_is_empty_reply(self, result),
            stop_reason=self.assistant_texts.stop_reason(),
            unread_result=self.result_too_large,
            warnings=tuple(_warnings(self, printed or {}, result)),
            assistant_errors=self.assistant_errors,
            last_error=self.last_error,
            result_is_models_text=self.assistant_texts.wrote(get_text(result or {}, "result")),
            retries=self.api_retries.count,
            retrying=self.api_retries.pending,
            compactions=self.compactions,
            model_changes=self.model_changes,
            plain_lines=(*self._plain_lines, *self._last_plain_lines),
            stderr_tail=self._stderr.decode("utf-8", "replace"),
            api_key_source=self.api_key_source,
            blocked_until=self.rate_limits.blocked_until,
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
            # then a message adds nothing but its text and its usage
            only_text_matters = self.has_content and self.result is None and not self.result_too_large
            if only_text_matters and line.startswith(_ASSISTANT) and _is_plain_message(line):
                self._add_plain_message(line)
                return
        self._parse_line(line)

    def _add_plain_message(self, line: bytes) -> None:
        self.main_events += 1
        self.answer_usage.add_line(line)
        self.note_answer()
        self.assistant_texts.add(line, has_text=b'"type":"text"' in line)

    def _parse_line(self, line: bytes) -> None:
        if len(line) > SHORT_LINE and not small_enough_to_parse(line):
            self._add_large_line(line)
            return
        event = read_event(line)
        if event is not None:
            self._handle(event, line)
            return
        events = list(events_beside(line, self.session_id))
        for event, source in events:
            self._handle(event, source)
        if not events:
            self._add_non_event(line if len(line) > LIMITS.control_bytes else without_control(line))

    def other_lines(self) -> tuple[str, ...]:
        """The first and last lines of stdout that are no events, and the last lines of stderr."""
        return (
            *self._plain_lines,
            *self._last_plain_lines,
            *self._stderr.decode("utf-8", "replace").split("\n"),
        )

    def _handle(self, event: Event, line: bytes) -> None:
        if handle := handler_of(event):
            handle(self, event, line)

    def _add_non_event(self, line: bytes) -> None:
        """Take plain text or a truncated event: on exit the CLI drops what the pipe has not accepted."""
        if line.startswith(_INIT):
            self.note_continuation()
        if line.startswith(_ASSISTANT) or (line.startswith(_OBJECT_START) and read_json(line) is None):
            self._add_torn_event(line)
        elif line:
            text = line[:PLAIN_BYTES].decode("utf-8", "replace").strip()[:PLAIN_CHARS]
            if len(self._plain_lines) < PLAIN_LINES:
                self._plain_lines += (text,)
            else:
                self._last_plain_lines.append(text)

    def _add_torn_event(self, line: bytes) -> None:
        kind = torn_event(line)
        self.torn_event = kind or self.torn_event
        if kind == "assistant" and (_MAIN_AGENT in line or b'"parent_tool_use_id"' not in line):
            self.has_content = True
            self.note_continuation()

    def _add_large_line(self, line: bytes) -> None:
        """Take a line that is too large to be parsed. If it is a result, the relay's summary replaces it."""
        if _RESULT in line and not line.startswith((*SKIPPED_PREFIXES, _ASSISTANT)):
            self.note_continuation()
            self.result_too_large = True
        else:
            self._add_non_event(line if line.startswith(_ASSISTANT) else line[:PLAIN_BYTES])


def _is_plain_message(line: bytes) -> bool:
    """Whether the line is a message of the main agent that need not be parsed."""
    must_parse = _ERROR in line or _SUPERSEDES in line or _PARSED_CALLS.search(line)
    return line.rfind(_MAIN_AGENT) >= 0 and not must_parse  # rfind: the field stands near the end


def _is_empty_reply(reader: StreamReader, result: Event | None) -> bool:
    """Whether there are only empty messages and no result, or a result that reports an empty reply.

    Such a result contradicts itself: it has both the fields of a completed and of a failed turn.
    """
    if result is None:
        return reader.main_events > 0 and not reader.has_content
    completed = result.get("terminal_reason") == "completed"
    failed = result.get("subtype") == "error_during_execution"
    return completed and failed and not reader.main_events


def _warnings(reader: StreamReader, printed: Event, result: Event | None) -> Iterator[RunWarning]:
    """Reasons to distrust the result or its usage. `printed`: the result with all of its fields."""
    for change in reader.model_changes:
        trigger = f" ({change.trigger})" if change.trigger else ""
        text = f"the CLI continued with model {change.used} instead of {change.requested}{trigger}"
        yield RunWarning(WarningCode.MODEL_CHANGED, text)
    if reader.overtaken:
        text = "the CLI continued after its last result: the cost is that up to that result"
        yield RunWarning(WarningCode.RESULT_OVERTAKEN, text)
    if reader.result_too_large:
        text = "the last result is too large to be read: see the agent's output"
        yield RunWarning(WarningCode.RESULT_TOO_LARGE, text)
    if result is None:
        return
    if printed.get("structured_output") is not None and result.get("structured_output") is None:
        text = "structured_output is too large for resultJson: see the agent's output"
        yield RunWarning(WarningCode.STRUCTURED_OUTPUT_TOO_LARGE, text)
    if is_success(result):
        yield from result_warnings(result, model_answered=bool(reader.assistant_texts.model()))
        yield from reader.notices.warnings(result, reader.open_work.tasks, reader.other_lines())
