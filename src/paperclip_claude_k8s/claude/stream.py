"""Output of the CLI → a Transcript: one pass, any chunks, bounded memory (SPEC 7, EVENTS.md).

Most bytes of a run are tool results and answers whose content says nothing about the run: such lines are
told by how they begin and not parsed. Everything else goes through the table at the end of this file.
"""

from collections.abc import Callable, Iterator

from paperclip_claude_k8s.claude.accounting import Accounts
from paperclip_claude_k8s.claude.answers import Answers
from paperclip_claude_k8s.claude.event_lines import events_beside, without_control
from paperclip_claude_k8s.claude.events import Event, count, inner, items, read_event, read_json, text
from paperclip_claude_k8s.claude.excerpt import HEAD_BYTES, Excerpt
from paperclip_claude_k8s.claude.open_work import WAKE_UP, OpenWork
from paperclip_claude_k8s.claude.results import is_success, odd_subtype
from paperclip_claude_k8s.claude.transcript import ModelChange, Transcript

QUIET = (
    b'{"type":"user",',
    b'{"type":"stream_event",',
    b'{"type":"system","subtype":"thinking_tokens",',
    b'{"type":"tool_progress",',
)
"""Beginnings of events that say nothing about how the run went."""
_INIT = b'{"type":"system","subtype":"init"'
_ANSWER = b'{"type":"assistant",'
_OF_MAIN_AGENT = b'"parent_tool_use_id":null'
_ERROR, _SUPERSEDES = b'"error":', b'"supersedes":'
"""Fields of an answer that make it more than an answer; inside of strings their quotes would be escaped."""
_WAKE_UP = f'"name":"{WAKE_UP}"'.encode()
_TORN = b'{"'
PLAIN_CHARS = 2000
"""Of a plain line that an error quotes."""
PLAIN_LINES = 20
"""Plain lines kept: what a CLI says that cannot start fits."""
FEW = 100
"""Errors and model changes kept: the last ones count."""


class StreamReader:
    """Feed it all that the CLI printed, in any pieces; `finish` may be called at any time."""

    def __init__(self) -> None:
        self.session_id: str | None = None
        self.announced_model = ""
        """The model that the CLI said it would ask; and, beside it, where its key came from."""
        self.api_key_source = ""
        self.result: Event | None = None
        """The last one, until the CLI goes on."""
        self.overtaken = False
        """The CLI went on after the last result."""
        self.open_work = OpenWork()
        self.accounts = Accounts()
        self.answers = Answers()
        self.substance = False
        """The main agent said something: a content block, or tokens."""
        self.main_events = 0
        self.errors: tuple[str, ...] = ()
        self.rate_limit: Event | None = None
        self.retries = 0
        self.compactions = 0
        self.model_changes: tuple[ModelChange, ...] = ()
        self._plain: tuple[str, ...] = ()
        self._stderr = b""
        self._rest: list[bytes] = []
        self._excerpt = Excerpt()
        self._lines = 0

    def feed(self, block: bytes) -> None:
        self._excerpt.add(block)
        lines = block.split(b"\n")
        rest = lines.pop()
        if lines and self._rest:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest = []
        for line in lines:
            self._line(line)
        if rest:
            self._rest.append(rest)

    def feed_stderr(self, block: bytes) -> None:
        self._stderr = (self._stderr + block)[-HEAD_BYTES:]

    def allowed_silence(self) -> float | None:
        """Seconds for which the CLI may be silent by now and still have something to do.

        0: its final result was read and nothing is open, so it should exit. None: there is no final result
        yet, or something is open, such as a background task, that may take any time. Wake-ups are not in it.
        """
        return self.open_work.silence if self.result is not None else None

    def finish(self) -> Transcript:
        """What was fed makes this; a last line without newline counts."""
        rest, self._rest = b"".join(self._rest), []
        self._line(rest)
        result, announced = self.result, self.announced_model
        return Transcript(
            session_id=self.session_id,
            init_model=announced,
            model=self.answers.model() or announced,
            summary=self.answers.summary(result),
            spent=self.accounts.spent,
            result=result,
            overtaken=self.overtaken,
            cut_short=result is None and (self.substance or self.overtaken),
            substance=self.substance,
            empty_reply=self._is_empty_reply(),
            stop_reason=self.answers.stop_reason(),
            warnings=tuple(_warnings(result, self.model_changes, overtaken=self.overtaken)),
            assistant_errors=self.errors,
            retries=self.retries,
            compactions=self.compactions,
            model_changes=self.model_changes,
            first_plain_line=self._plain[0] if self._plain else "",
            plain_lines=self._plain,
            stderr_tail=self._stderr.decode("utf-8", "replace"),
            api_key_source=self.api_key_source,
            rate_limit=self.rate_limit,
            excerpt=bytes(self._excerpt),
            lines=self._lines,
            bytes=self._excerpt.bytes,
        )

    def _line(self, line: bytes) -> None:
        if not line or line.isspace():
            return
        self._lines += 1
        if line.endswith(b"}"):
            open_work = self.open_work
            if line.startswith(QUIET) and not (open_work.sub_agents and open_work.may_end_with(line)):
                return
            no_news = self.substance and self.result is None
            if no_news and line.startswith(_ANSWER) and _is_mere_answer(line):
                self.main_events += 1
                self.answers.keep(line, has_text=b'"type":"text"' in line)
                return
        self._read(line)

    def _read(self, line: bytes) -> None:
        event = read_event(line)
        if event is not None:
            self._event(event, line)
            return
        found = list(events_beside(line, self.session_id))
        for event, source in found:
            self._event(event, source)
        if not found:
            self._no_event(without_control(line))

    def goes_on(self) -> None:
        """A result before this was not the run's end: it counts for usage and cost, and for nothing else."""
        self.overtaken = self.overtaken or self.result is not None
        self.result = None

    def _event(self, event: Event, line: bytes) -> None:
        read = _READERS.get((text(event, "type"), text(event, "subtype")))
        if read is None:
            read = _READERS.get((text(event, "type"), ""))
        if read is not None:
            read(self, event, line)

    def _no_event(self, line: bytes) -> None:
        """Plain text, or an event that was torn: the CLI drops what a pipe has not taken when it exits."""
        if line.startswith(_ANSWER):
            if _OF_MAIN_AGENT in line or b'"parent_tool_use_id"' not in line:
                self.substance = True
                self.goes_on()
            return
        if line.startswith(_INIT):
            self.goes_on()
        torn = line.startswith(_TORN) and read_json(line) is None
        if line and not torn and len(self._plain) < PLAIN_LINES:
            self._plain += (line[: 4 * PLAIN_CHARS].decode("utf-8", "replace").strip()[:PLAIN_CHARS],)

    def _is_empty_reply(self) -> bool:
        """Only empty main events and no result, or the CLI's own diagnosis and no event at all."""
        if self.result is None:
            return self.main_events > 0 and not self.substance
        completed = self.result.get("terminal_reason") == "completed"
        diagnosed = self.result.get("subtype") == "error_during_execution"
        return completed and diagnosed and not self.main_events


def _is_mere_answer(line: bytes) -> bool:
    more = _ERROR in line or _SUPERSEDES in line or _WAKE_UP in line
    return line.rfind(_OF_MAIN_AGENT) >= 0 and not more


# ── one small reader per frame ───────────────────────────────────────────────────────────────────


def _init(fold: StreamReader, event: Event, _: bytes) -> None:
    """Background tasks make the CLI print several; they name the same session."""
    fold.goes_on()
    fold.accounts.init(event)
    fold.announced_model, fold.api_key_source = text(event, "model"), text(event, "apiKeySource")
    fold.session_id = text(event, "session_id") or fold.session_id


def _assistant(fold: StreamReader, event: Event, line: bytes) -> None:
    if error := text(event, "error"):
        fold.errors = (*fold.errors[1 - FEW :], error)
    fold.answers.retract(items(event, "supersedes"))
    message = inner(event, "message")
    blocks = items(message, "content")
    fold.open_work.answered(text(event, "parent_tool_use_id"), blocks)
    if event.get("parent_tool_use_id"):
        return
    fold.goes_on()
    fold.main_events += 1
    fold.substance |= bool(blocks) or count(inner(message, "usage"), "output_tokens") > 0
    fold.answers.keep(line, has_text=any(isinstance(b, dict) and b.get("type") == "text" for b in blocks))


def _result(fold: StreamReader, event: Event, _: bytes) -> None:
    """The last one counts: a background task that ends makes the CLI go on (EVENTS.md 0)."""
    fold.result, fold.overtaken = event, False
    fold.open_work.result(event)
    fold.accounts.result(event)


def _rate_limit(fold: StreamReader, event: Event, _: bytes) -> None:
    fold.rate_limit = inner(event, "rate_limit_info")


def _retry(fold: StreamReader, _event: Event, _line: bytes) -> None:
    fold.retries += 1


def _compaction(fold: StreamReader, _event: Event, _line: bytes) -> None:
    fold.compactions += 1


def _model_change(fold: StreamReader, event: Event, _: bytes) -> None:
    fold.answers.retract(items(event, "retracted_message_uuids"))
    names = ("original_model", "fallback_model", "trigger")
    change = ModelChange(*(text(event, name) for name in names))
    fold.model_changes = (*fold.model_changes[1 - FEW :], change)


def _tool_output(fold: StreamReader, event: Event, _: bytes) -> None:
    fold.open_work.tool_output(event)


def _task_started(fold: StreamReader, event: Event, _: bytes) -> None:
    fold.open_work.task_started(event)


def _task_updated(fold: StreamReader, event: Event, _: bytes) -> None:
    fold.open_work.task_updated(event)


def _task_ended(fold: StreamReader, event: Event, _: bytes) -> None:
    fold.open_work.task_ended(event)


def _tasks_changed(fold: StreamReader, event: Event, _: bytes) -> None:
    fold.open_work.tasks_changed(event)


_READERS: dict[tuple[str, str], Callable[[StreamReader, Event, bytes], None]] = {
    ("system", "init"): _init,
    ("system", "api_retry"): _retry,
    ("system", "compact_boundary"): _compaction,
    ("system", "model_fallback"): _model_change,
    ("system", "model_refusal_fallback"): _model_change,
    ("system", "task_started"): _task_started,
    ("system", "task_updated"): _task_updated,
    ("system", "task_notification"): _task_ended,
    ("system", "background_tasks_changed"): _tasks_changed,
    ("assistant", ""): _assistant,
    ("user", ""): _tool_output,
    ("result", ""): _result,
    ("rate_limit_event", ""): _rate_limit,
}


def _warnings(result: Event | None, changes: tuple[ModelChange, ...], *, overtaken: bool) -> Iterator[str]:
    """What makes a success suspicious (EVENTS.md 3): told with it, never a failure."""
    for change in changes:
        why = f" ({change.why})" if change.why else ""
        yield f"the CLI went on with model {change.took} instead of {change.asked}{why}"
    if overtaken:
        yield "the CLI went on after its last result: usage and cost are those up to it"
    if result is None or not is_success(result):
        return
    if odd := odd_subtype(result):
        yield f"the result's subtype is {odd} instead of success; no error is flagged, so it counts as one"
    if result.get("result") == "":
        yield "the result is empty"
    if "stop_reason" in result and result["stop_reason"] is None and result.get("terminal_reason"):
        yield "stop_reason is null: the answer may have been cut in mid-stream"
    denials = [denial for denial in items(result, "permission_denials") if isinstance(denial, dict)]
    denied = {text(denial, "tool_name") for denial in denials}
    if denied - {""}:
        yield f"the agent was denied: {', '.join(sorted(denied - {''}))}"
