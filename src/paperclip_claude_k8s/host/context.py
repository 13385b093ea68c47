"""What a host hands to `execute`: HOST.md 3.1 and 3.2, lenient on input."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, Self, TypeAlias, cast, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

JsonMap: TypeAlias = dict[str, Any]
LogStreamName = Literal["stdout", "stderr"]
OnLog: TypeAlias = Callable[[LogStreamName, str], Awaitable[None]]
OnMap: TypeAlias = Callable[[JsonMap], Awaitable[None]]
OnSignal: TypeAlias = Callable[[], Awaitable[None]]


@runtime_checkable
class StopSignal(Protocol):
    """Anything that can be asked and awaited; an `asyncio.Event` will do."""

    def is_set(self) -> bool: ...

    async def wait(self) -> Any: ...  # noqa: ANN401  # whatever the event returns, nobody reads it


class ContextInvalid(ValueError):
    """The host's context cannot be used; the message says which field and what is expected there."""


def _text_or_none(value: object) -> object:
    """Blank text means nothing; numbers and uuids stand for their text."""
    if value is None or isinstance(value, bool):
        return None if value is None else value
    if isinstance(value, (str, int)) or type(value).__name__ == "UUID":
        return str(value).strip() or None
    return value


def _map_or_empty(value: object) -> object:
    return {} if value is None else value


Text = Annotated[str, BeforeValidator(_text_or_none)]
MaybeText = Annotated[str | None, BeforeValidator(_text_or_none)]
Map = Annotated[JsonMap, BeforeValidator(_map_or_empty)]


class _HostModel(BaseModel):
    """Both spellings are read; what we do not know is the host's business."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        arbitrary_types_allowed=True,
        frozen=True,
    )


class Agent(_HostModel):
    """Who runs. Only `id` is needed; the host passes its whole agent row."""

    id: Annotated[str, BeforeValidator(_text_or_none)]
    company_id: MaybeText = None
    name: MaybeText = None


class Runtime(_HostModel):
    """The session the host wants continued; all None on a fresh one."""

    session_id: MaybeText = None
    session_params: JsonMap | None = None
    session_display_id: MaybeText = None


class ExecutionContext(_HostModel):
    """One call of `execute`. Times are ISO 8601, ids plain strings, callbacks async."""

    run_id: Text
    agent: Agent
    runtime: Annotated[Runtime, BeforeValidator(_map_or_empty)] = Field(default_factory=Runtime)
    config: Map = Field(default_factory=dict, repr=False)
    context: Map = Field(default_factory=dict, repr=False)
    auth_token: MaybeText = Field(default=None, repr=False)
    execution_target: JsonMap | None = None
    runtime_mcp: Any = Field(default=None, repr=False)
    runtime_tools: JsonMap | None = Field(default=None, repr=False)
    signal: StopSignal | None = None

    on_log: OnLog
    on_meta: OnMap | None = None
    on_spawn: OnMap | None = None
    on_dispatch: OnSignal | None = None
    on_runtime_progress: OnMap | None = None
    on_cancellation_ready: OnSignal | None = None

    @classmethod
    def read(cls, given: "ExecutionContext | Mapping[str, Any]") -> "ExecutionContext":
        """Accept our own model or any mapping of that shape.

        Raises:
            ContextInvalid: a field is missing or of the wrong kind; says which and what is expected.
        """
        if isinstance(given, cls):
            return given
        try:
            return cls.model_validate(given if isinstance(given, Mapping) else vars(given))
        except (ValidationError, TypeError) as error:
            raise ContextInvalid(_explain(error)) from None


class StoppableContext(ExecutionContext):
    """A context whose `signal` is final: the host's own, one set by polling its API, or none."""

    @classmethod
    def of(cls, ctx: ExecutionContext, **replaced: Any) -> Self:  # noqa: ANN401  # any of its fields
        """`ctx` with these fields replaced. Nothing is validated again."""
        return cast("Self", cls.model_construct(None, **{**ctx.__dict__, **replaced}))


class ResolvedContext(StoppableContext):
    """A context whose MCP servers are known: `runtime_mcp` is `{"servers": [...]}`, or None without any."""


_HINTS = {
    "runId": "the host's id of this run, a non-empty string",
    "agent": "an object with at least an id",
    "agent.id": "the agent's id, a non-empty string",
    "onLog": "an async function onLog(stream, text)",
    "config": "an object with the adapter's settings",
    "context": "an object with the run's context",
}


def _explain(error: ValidationError | TypeError) -> str:
    """The first fault, by the wire's names and without the value: a context holds tokens."""
    if isinstance(error, TypeError):
        return "ctx must be a mapping or an ExecutionContext"
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(to_camel(str(part)) for part in first["loc"]) or "ctx"
    what = "is missing" if first["type"] == "missing" else "cannot be used"
    return f"ctx.{where} {what}: expected {_HINTS.get(where, first['msg'][:1].lower() + first['msg'][1:])}"


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as the host's own dates."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
