"""The state of the parser while it reads: facts that later events may still change."""

from dataclasses import dataclass, field

from paperclip_claude_k8s.claude.accounting import UsageTracker
from paperclip_claude_k8s.claude.answer_usage import AnswerUsage
from paperclip_claude_k8s.claude.api_retries import ApiRetries
from paperclip_claude_k8s.claude.assistant_texts import AssistantTexts
from paperclip_claude_k8s.claude.events import Event
from paperclip_claude_k8s.claude.open_work import OpenWork
from paperclip_claude_k8s.claude.rate_limits import RateLimits
from paperclip_claude_k8s.claude.run_notices import RunNotices
from paperclip_claude_k8s.claude.transcript import ModelChange


@dataclass(eq=False)
class StreamState:
    """The facts of an output. `event_handlers` changes them, one event after another."""

    session_id: str | None = None
    announced_model: str = ""
    """The model that `init` announced."""
    api_key_source: str = ""
    result: bytes | None = None
    """The line of the last `result`; None as soon as the CLI has continued after it."""
    result_too_large: bool = False
    """The line of the last result is too large to be parsed."""
    overtaken: bool = False
    """The CLI continued after the last result."""
    has_content: bool = False
    """The main agent produced a content block or output tokens."""
    main_events: int = 0
    """Number of `assistant` events of the main agent."""
    assistant_errors: tuple[str, ...] = ()
    last_error: Event = field(default_factory=dict)
    """Fields about the error in the main agent's last message; empty if it reports none."""
    torn_event: str = ""
    """Type of the last event that was not complete. A complete `result` clears it."""
    compactions: int = 0
    model_changes: tuple[ModelChange, ...] = ()
    open_work: OpenWork = field(default_factory=OpenWork)
    usage: UsageTracker = field(default_factory=UsageTracker)
    assistant_texts: AssistantTexts = field(default_factory=AssistantTexts)
    rate_limits: RateLimits = field(default_factory=RateLimits)
    api_retries: ApiRetries = field(default_factory=ApiRetries)
    answer_usage: AnswerUsage = field(default_factory=AnswerUsage)
    notices: RunNotices = field(default_factory=RunNotices)

    def note_answer(self) -> None:
        """The main agent has answered, so earlier errors and retries do not explain how the run ended."""
        self.last_error, self.api_retries.pending = {}, ""
        self.notices.stopped_tasks.clear()

    def note_continuation(self) -> None:
        """The CLI continues, so the last result was not the run's end and counts for usage only."""
        self.overtaken = self.overtaken or self.result is not None or self.result_too_large
        self.result, self.result_too_large = None, False
