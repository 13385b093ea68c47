"""The environment test's question and answer: HOST.md 5."""

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

from paperclip_claude_k8s.host.context import ContextInvalid, JsonMap, Map, MaybeText, iso

Level: TypeAlias = Literal["info", "warn", "error"]
Status: TypeAlias = Literal["pass", "warn", "fail"]


class CheckupContext(BaseModel):
    """What is to be tested: the draft of a config, secrets resolved.

    `probe` also starts a Job that really runs, and removes it.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    config: Map = Field(default_factory=dict, repr=False)
    company_id: MaybeText = None
    probe: Annotated[bool, BeforeValidator(lambda given: given is True)] = False

    @classmethod
    def read(cls, given: "CheckupContext | Mapping[str, Any]") -> "CheckupContext":
        """Raises ContextInvalid, which says what is expected and quotes nothing."""
        if isinstance(given, cls):
            return given
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise ContextInvalid(f"ctx{where and '.'}{where} cannot be used: expected an object") from None


class _WireModel(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True
    )


class Check(_WireModel):
    """One thing that was looked at: what is so, and what to do about it."""

    code: str
    level: Level
    message: str
    detail: str | None = None
    hint: str | None = None

    @model_serializer(mode="wrap")
    def _only_what_is_there(self, inner: SerializerFunctionWrapHandler) -> JsonMap:
        wire: JsonMap = inner(self)
        return {key: value for key, value in wire.items() if value is not None}


class Checkup(_WireModel):
    """The whole answer; `status` is the worst level."""

    adapter_type: str
    status: Status
    checks: tuple[Check, ...]
    tested_at: datetime

    @field_serializer("tested_at")
    def _iso(self, moment: datetime) -> str:
        return iso(moment)

    def to_wire(self) -> JsonMap:
        """JSON-able and camelCase."""
        return self.model_dump(mode="json", by_alias=True)


def overall(checks: tuple[Check, ...]) -> Status:
    levels = {check.level for check in checks}
    if "error" in levels:
        return "fail"
    return "warn" if "warn" in levels else "pass"
