"""What a host passes to `execute`; `docs/host-protocol.md` describes it with examples.

Input is read leniently: camelCase or snake_case keys, null for an absent object, unknown keys ignored.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol, Self, TypeAlias, cast, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.base.json_readers import as_object, as_trimmed
from paperclip_claude_k8s.base.path_lengths import PATH_EXCESS, path_is_too_long
from paperclip_claude_k8s.host.input_bounds import (
    CONTEXT_NUMBERS,
    VARIABLE_CHARS,
    cannot_be_variable,
    find_excess,
)

JsonMap: TypeAlias = dict[str, Any]
LogStreamName = Literal["stdout", "stderr"]
OnLog: TypeAlias = Callable[[LogStreamName, str], Awaitable[None]]
ObjectCallback: TypeAlias = Callable[[JsonMap], Awaitable[None]]
"""A callback whose only argument is a JSON object."""
BareCallback: TypeAlias = Callable[[], Awaitable[None]]
"""A callback without arguments."""
ResultCallback: TypeAlias = Callable[[Any], Awaitable[None]]
"""A callback whose only argument is an `ExecutionResult`."""


@runtime_checkable
class StopSignal(Protocol):
    """A stop request that can be polled and awaited, for example an `asyncio.Event`."""

    def is_set(self) -> bool:
        """Return whether the run is to be stopped."""
        ...

    async def wait(self) -> Any:  # noqa: ANN401  # the return value is ignored
        """Wait until the run is to be stopped."""
        ...


class ContextInvalid(ValueError):
    """The host's context cannot be used; the message names the field and what is expected there."""


def _text_or_none(value: object) -> object:
    """Return text trimmed, None for blank text, integers and UUIDs as text, and other values unchanged."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, int)) or type(value).__name__ == "UUID":
        return str(value).strip() or None
    return value


def _id_or_none(value: object) -> object:
    """Return what `_text_or_none` returns, but refuse blank text: a host may have lost the id."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("expected an id, not blank text; leave the field out if there is none")
    return _text_or_none(value)


def _map_or_empty(value: object) -> object:
    return {} if value is None else value


Text = Annotated[str, BeforeValidator(_text_or_none)]
MaybeText = Annotated[str | None, BeforeValidator(_text_or_none)]
MaybeId = Annotated[str | None, BeforeValidator(_id_or_none)]
Map = Annotated[JsonMap, BeforeValidator(_map_or_empty)]


_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[!-~]{1,512}(?:[ ,!-~]{0,511}[!-~])?")


def _matching(pattern: re.Pattern[str], limit: int) -> BeforeValidator:
    """Return a validator that turns what does not match into None: a bad trace context must not fail a run.

    `limit`: the most characters that are examined.
    """

    def read(value: object) -> str | None:
        text = value.strip() if isinstance(value, str) and len(value) <= limit else ""
        return text if pattern.fullmatch(text) else None

    return BeforeValidator(read)


TraceParent = Annotated[str | None, _matching(_TRACEPARENT, limit=100)]
TraceState = Annotated[str | None, _matching(_TRACESTATE, limit=512)]


class _HostModel(BaseModel):
    """Reads camelCase and snake_case keys and ignores unknown ones."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        arbitrary_types_allowed=True,
        frozen=True,
    )


class Agent(_HostModel):
    """The agent that runs. A host may pass its whole agent record; only these fields are read."""

    id: Text
    """Required; with at least one letter or digit, because Jobs are named after it."""
    company_id: MaybeId = None
    """Part of the Job's labels and of the paths on the shared volume. Blank text is an error."""
    name: MaybeText = None
    """For people; without a name, the id is shown instead."""


class Runtime(_HostModel):
    """The session to resume, as an earlier result reported it; empty for a fresh session."""

    session_id: MaybeText = None
    """Only read if `session_params` has no session id."""
    session_params: JsonMap | None = None
    """`sessionParams` of an earlier result, as `Adapter.session_codec` stored it."""
    session_display_id: MaybeText = None
    """For people; not used by the adapter."""


class ExecutionContext(_HostModel):
    """One call of `Adapter.execute`. Only `run_id`, `agent` and `on_log` are required.

    A host may pass a mapping of the same shape instead, with camelCase keys (`runId`, `onLog`, ...).
    `docs/host-protocol.md` describes the callbacks' arguments. A callback that raises does not end the run.
    """

    run_id: Text
    """The id that the host gave this run. A second call with the same id adopts the Job of the first."""
    agent: Agent
    """The agent that runs."""
    runtime: Annotated[Runtime, BeforeValidator(_map_or_empty)] = Field(default_factory=Runtime)
    """The session to resume."""
    config: Map = Field(default_factory=dict, repr=False)
    """Settings by key (`docs/configuration.md`), secrets resolved."""
    context: Map = Field(default_factory=dict, repr=False)
    """Why the agent runs: task, wake, workspace. Becomes the prompt and the agent's environment."""
    auth_token: MaybeText = Field(default=None, repr=False)
    """The agent's token for the host's API, passed on as PAPERCLIP_API_KEY; also used to poll that API for a
    stop request."""
    execution_target: JsonMap | None = None
    """`{"kind": "remote", ...}` is refused: Jobs run in the configured cluster only."""
    runtime_mcp: Any = Field(default=None, repr=False)
    """`{"servers": [{name, url, token, connectionId}]}`, or an object with `getServers()`."""
    runtime_tools: JsonMap | None = Field(default=None, repr=False)
    """The host's tools `{guidance, mcpEndpoint, rest, bearerToken, expiresAt, tools}`, given to the agent."""
    traceparent: TraceParent = None
    """The host's trace context (W3C Trace Context): the parent of the run's span, see `observability.md`."""
    tracestate: TraceState = None
    """The vendors' part of the trace context."""
    signal: StopSignal | None = None
    """Setting it stops the agent; the run ends with the code `cancelled`. If it is None, `auth_token` is set
    and the environment has PAPERCLIP_API_URL, the host's API is polled for a stop request every 15 s."""

    log_format: Literal["text", "events"] | None = None
    """What the host's page can show: `text`: lines for people; `events` (or None): the CLI's JSON lines.
    The setting `logFormat` may override it."""
    log_chunk_bytes: Annotated[int, Field(gt=0)] | None = None
    """Largest size in bytes of a chunk of several lines for `on_log`; by default, and at most, 60 KiB."""

    on_log: OnLog
    """`await on_log(stream, text)`: whole lines of the agent's output and of the adapter, except that a line
    above 8 MiB comes in parts. Lines of the adapter begin with `[paperclip] `; its warnings have the stream
    `stderr`. The next call waits for the previous one, so a slow host delays this run's log, but no other
    run."""
    on_meta: ObjectCallback | None = None
    """`await on_meta(meta)`: what is about to run, without secrets. Called before the Job is created."""
    on_spawn: ObjectCallback | None = None
    """`await on_spawn({pid, processGroupId, startedAt})`: the agent has started. Repeated every 180 s, if
    `refreshOnSpawn` is on (the default)."""
    on_dispatch: BareCallback | None = None
    """`await on_dispatch()`: the Job is about to be created."""
    on_runtime_progress: ObjectCallback | None = None
    """`await on_runtime_progress({phase, message, currentToolName?, lastAssistantSnippet?, lastEventAt?})`:
    every 15 s in the first minute, then every 60 s; with the log format `text` also at most 5 s after the
    agent began or ended a call or wrote a text. Not called if there is an `on_spawn`: then `on_log` gets
    keepalive lines while the agent is silent."""
    on_result: ResultCallback | None = None
    """`await on_result(result)`: the result that `execute` will return, while the run's Job still exists. The
    callback returns when the host has stored the result; then the Job is deleted. If the callback raises, or
    takes longer than 75 s, the Job stays, and a later run of the same wake takes its result. Not called for a
    run without a Job."""
    on_cancellation_ready: BareCallback | None = None
    """`await on_cancellation_ready()`: from now on, setting `signal` stops the run. Called before anything is
    created in the cluster."""

    @classmethod
    def read(cls, given: "ExecutionContext | Mapping[str, Any]") -> "ExecutionContext":
        """Return `given`, a mapping or any object with these attributes, as an `ExecutionContext`.

        Raises:
            ContextInvalid: a field is missing or has the wrong type; the message says what is expected.
        """
        if isinstance(given, cls):
            _check_bounds(given)
            return given
        try:
            ctx = cls.model_validate(given if isinstance(given, Mapping) else vars(given))
        except (ValidationError, TypeError, RecursionError) as error:
            raise ContextInvalid(explain_invalid(error)) from None
        _check_bounds(ctx)
        return ctx


class StoppableContext(ExecutionContext):
    """A context whose `signal` is final: the host's, one that is set by polling the host's API, or None."""

    @classmethod
    def of(cls, ctx: ExecutionContext, **replaced: Any) -> Self:  # noqa: ANN401  # any of its fields
        """Return `ctx` with the fields in `replaced` changed, without validating anything again."""
        return cast("Self", cls.model_construct(None, **{**ctx.__dict__, **replaced}))


class ResolvedContext(StoppableContext):
    """A context whose MCP servers are known: `runtime_mcp` is `{"servers": [...]}`, or None without any."""


def _check_bounds(ctx: ExecutionContext) -> None:
    """Raise `ContextInvalid` for objects whose nesting or number of values would stop the process."""
    for name in ("context", "runtime_tools", "execution_target"):
        for key, value in (getattr(ctx, name) or {}).items():
            if excess := find_excess(value, CONTEXT_NUMBERS):
                raise ContextInvalid(f"ctx.{to_camel(name)}.{str(key)[:80]} {excess}")
    if path_is_too_long(as_trimmed(as_object(ctx.context.get("paperclipWorkspace")).get("cwd")) or ""):
        raise ContextInvalid(f"ctx.context.paperclipWorkspace.cwd {PATH_EXCESS}")
    if isinstance(ctx.runtime_mcp, Mapping) and (excess := find_excess(ctx.runtime_mcp, CONTEXT_NUMBERS)):
        raise ContextInvalid(f"ctx.runtimeMcp {excess}")
    if excess := find_excess(ctx.runtime.session_params, CONTEXT_NUMBERS):
        raise ContextInvalid(f"ctx.runtime.sessionParams {excess}")
    _check_lengths(ctx)


def _check_lengths(ctx: ExecutionContext) -> None:
    """Raise `ContextInvalid` for texts that would be searched for secrets for a long time."""
    for where, text in _short_texts(ctx):
        if cannot_be_variable(text):
            expected = f"fewer than {VARIABLE_CHARS}, because it becomes a variable of the agent"
            raise ContextInvalid(f"ctx.{where} has {len(text)} characters: expected {expected}")


_VARIABLES = (
    "taskId",
    "issueId",
    "wakeReason",
    "wakeCommentId",
    "commentId",
    "approvalId",
    "approvalStatus",
    "paperclipRuntimePrimaryUrl",
)
"""Keys of the context whose texts become variables of the agent."""
_LONG_IN_TOOLS = frozenset({"guidance"})
"""Texts of the host's tools that may be long; they become files."""


def _short_texts(ctx: ExecutionContext) -> Iterator[tuple[str, Any]]:
    """Place and value of everything that becomes a variable of the agent or a name in the cluster."""
    yield from (("runId", ctx.run_id), ("authToken", ctx.auth_token))
    yield from ((f"agent.{to_camel(key)}", value) for key, value in ctx.agent)
    yield from ((f"context.{key}", ctx.context.get(key)) for key in _VARIABLES)
    yield from _texts_of("context.paperclipWorkspace", ctx.context.get("paperclipWorkspace"))
    for where, tools in (
        ("runtimeTools", ctx.runtime_tools),
        ("context.paperclipRuntimeTools", ctx.context.get("paperclipRuntimeTools")),
    ):
        yield from _texts_of(where, tools, _LONG_IN_TOOLS)
        yield from _texts_of(f"{where}.rest", as_object(tools).get("rest"))


def _texts_of(where: str, given: object, left_out: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Place and value of the entries of an object, if it is one, and of the addresses in its objects."""
    for key, value in as_object(given).items():
        if key not in left_out:
            yield f"{where}.{str(key)[:80]}", as_object(value).get("url", value)


_EXPECTED = {
    "": "an object",
    "runId": "the id that the host gave this run, a non-empty string",
    "agent": "an object with at least an id",
    "agent.id": "the agent's id, a non-empty string",
    "onLog": "an async function onLog(stream, text)",
    "config": "an object with the adapter's settings",
    "context": "an object with the run's context",
}


def explain_invalid(error: ValidationError | TypeError | RecursionError) -> str:
    """Describe the first error by the field's camelCase name, without its value, which may hold tokens."""
    if not isinstance(error, ValidationError):
        return "ctx must be a mapping or an ExecutionContext"
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(to_camel(str(part)) for part in first["loc"])
    fault = "is missing" if first["type"] == "missing" else "cannot be used"
    text = first["msg"].removeprefix("Value error, expected ").removeprefix("Input should be ")
    expected = _EXPECTED.get(where, text[:1].lower() + text[1:])
    return f"ctx{where and '.'}{where} {fault}: expected {expected}"
