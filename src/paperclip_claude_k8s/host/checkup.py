"""Input and result of the environment test, `Adapter.test_environment`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    model_serializer,
)
from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.host.context import ContextInvalid, JsonMap, Map, MaybeText, explain_invalid
from paperclip_claude_k8s.host.wire_model import WireModel

Level: TypeAlias = Literal["info", "warn", "error"]
Status: TypeAlias = Literal["pass", "warn", "fail"]


class CheckupContext(BaseModel):
    """One call of `Adapter.test_environment`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    config: Map = Field(default_factory=dict, repr=False)
    """The settings to be tested, which may be a draft; secrets resolved."""
    company_id: MaybeText = None
    """Company of the agent; becomes a label of the Jobs that the test creates."""
    probe: Annotated[bool, BeforeValidator(lambda given: given is True)] = False
    """Whether to also run a Job with `claude --version`, and delete it afterwards. Only `true` means yes."""

    execution_target: JsonMap | None = None
    """`{"kind": "remote", ...}` if the host would run the agent in an environment of its own."""
    setup_may_follow: Annotated[bool, BeforeValidator(lambda given: given is True)] = False
    """Whether the host creates agents before their settings can be entered. If so, it is only a warning if
    nothing names a cluster yet, and not an error."""

    @classmethod
    def read(cls, given: "CheckupContext | Mapping[str, Any]") -> "CheckupContext":
        """Return `given` as a `CheckupContext`.

        Raises:
            ContextInvalid: a field has the wrong type; the message names it and quotes no value.
        """
        if isinstance(given, cls):
            return given
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ContextInvalid(explain_invalid(error)) from None


class Check(WireModel):
    """One finding of the environment test."""

    code: str
    """Stable name of what was examined, such as `k8s_api_reachable`, or an error code of a run."""
    level: Level
    """`info`, `warn` or `error`."""
    message: str
    """What was found."""
    detail: str | None = None
    """Further facts."""
    hint: str | None = None
    """What to do about it."""

    @model_serializer(mode="wrap")
    def _without_nulls(self, inner: SerializerFunctionWrapHandler) -> JsonMap:
        wire: JsonMap = inner(self)
        return {key: value for key, value in wire.items() if value is not None}


class Checkup(WireModel):
    """The result of the environment test; `status` follows from the worst level among its checks."""

    adapter_type: str
    """`claude_k8s`."""
    status: Status
    """`pass`, `warn` or `fail`."""
    checks: tuple[Check, ...]
    """All findings, including those of level `info`."""
    tested_at: datetime
    """When the test was made, in UTC."""

    @field_serializer("tested_at")
    def _iso(self, tested_at: datetime) -> str:
        return format_time(tested_at)

    def to_wire(self) -> JsonMap:
        """Return camelCase JSON."""
        return self.model_dump(mode="json", by_alias=True)


def worst_status(checks: tuple[Check, ...]) -> Status:
    """Return `fail` if a check is at level `error`, else `warn` if one is at level `warn`, else `pass`."""
    levels = {check.level for check in checks}
    if "error" in levels:
        return "fail"
    return "warn" if "warn" in levels else "pass"
