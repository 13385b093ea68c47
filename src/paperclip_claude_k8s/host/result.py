"""What a host gets back: HOST.md 4.2."""

from datetime import datetime
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.base.strict_json import readable
from paperclip_claude_k8s.host.context import JsonMap

ErrorFamily = Literal["transient_upstream", "provider_quota", "model_refusal"]
BillingType = Literal["api", "metered_api", "subscription"]


class _WireModel(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True
    )


class Usage(_WireModel):
    """Tokens of one run. Cache creation counts as input: the host has no field for it."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0


class ExecutionResult(_WireModel):
    """The outcome of one run.

    `to_wire()` gives camelCase JSON. A field that was not set is left out of it: for the host an absent
    `sessionParams` keeps the previous session, a null one ends it.
    """

    exit_code: int | None = None
    signal: str | None = None
    timed_out: bool = False

    error_message: str | None = None
    error_code: str | None = None
    error_family: ErrorFamily | None = None
    retry_not_before: datetime | None = None
    error_meta: JsonMap | None = None
    execution_recovery: JsonMap | None = None

    usage: Usage | None = None
    usage_basis: Literal["per_run"] = "per_run"
    session_id: str | None = None
    session_params: JsonMap | None = None
    session_display_id: str | None = None
    clear_session: bool = False

    provider: str | None = None
    biller: str | None = None
    model: str | None = None
    billing_type: BillingType | None = None
    cost_usd: float | None = None

    summary: str | None = None
    result_json: JsonMap | None = Field(default=None)

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, given: object) -> object:
        return readable(given)

    @model_serializer(mode="wrap")
    def _only_what_was_set(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        wire: dict[str, Any] = inner(self)
        keep = self.model_fields_set | {"exit_code", "signal", "timed_out", "usage_basis", "clear_session"}
        names = keep | {to_camel(name) for name in keep}
        return {key: value for key, value in wire.items() if key in names}

    def to_wire(self) -> JsonMap:
        """JSON that strict readers take, camelCase, without the fields that were not set."""
        return self.model_dump(mode="json", by_alias=True)
