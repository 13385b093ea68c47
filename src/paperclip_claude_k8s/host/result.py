"""What `execute` returns to a host; `docs/host-protocol.md` describes it with examples."""

from datetime import datetime
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.base.strict_json import strict_copy
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.wire_model import WireModel

ErrorFamily = Literal["transient_upstream", "provider_quota", "model_refusal"]
BillingType = Literal["api", "metered_api", "subscription"]


class Usage(WireModel):
    """Tokens of one run, of all models and sub-agents."""

    input_tokens: int = 0
    """Includes cache writes, for which the host has no field."""
    output_tokens: int = 0
    """Tokens that the models generated."""
    cached_input_tokens: int = 0
    """Cache reads; not part of `input_tokens`."""


class ExecutionResult(WireModel):
    """The outcome of one run. A run succeeded if and only if `error_code` is None.

    `to_wire` converts it to camelCase JSON. It leaves out most fields that were not set, because absent and
    null differ for a host: it keeps the previous session if `sessionParams` is absent, and forgets it if that
    is null.
    """

    exit_code: int | None = None
    """Exit code of the agent's container; None if it is unknown or the host cancelled the run."""
    signal: str | None = None
    """`SIGTERM` if the host stopped the run."""
    timed_out: bool = False
    """Whether `timeoutSec` ended the run."""

    error_message: str | None = None
    """What happened, and the next step. For people; may change between versions."""
    error_code: str | None = None
    """One of `ErrorCode`; `docs/errors.md` describes each. None after a success."""
    error_family: ErrorFamily | None = None
    """How a host should treat the failure; `transient_upstream` and `provider_quota` may be retried."""
    retry_not_before: datetime | None = None
    """Earliest useful retry, if the provider named a time."""
    error_meta: JsonMap | None = None
    """`{"loginUrl": ...}` if a person must log the agent in."""
    execution_recovery: JsonMap | None = None
    """Evidence that the agent never started (`{"kind": "bootstrap", "providerWorkStarted": false}`) or was
    stopped cleanly (`{"kind": "interrupted", ...}`)."""

    usage: Usage | None = None
    """Tokens of the run; None if the agent reported none."""
    usage_basis: Literal["per_run"] = "per_run"
    """Usage and cost are those of this run, not of the whole session."""
    session_id: str | None = None
    """Id of the Claude session; pass it back in `runtime` to resume the session."""
    session_params: JsonMap | None = None
    """What a host stores for the next run: session id, working directory, bundle key, MCP identity."""
    session_display_id: str | None = None
    """The session's name for people: its id."""
    clear_session: bool = False
    """Whether the host should forget the session, because it cannot be resumed."""

    provider: str | None = None
    """`anthropic`, whoever bills for it."""
    biller: str | None = None
    """Who bills: `anthropic` or `aws_bedrock`."""
    model: str | None = None
    """The model that the session reported, else the configured one."""
    billing_type: BillingType | None = None
    """`api` for an API key, `metered_api` on Bedrock, `subscription` for a login."""
    cost_usd: float | None = None
    """Cost of this run in US dollars; None if it cannot be determined from the CLI's output."""

    summary: str | None = None
    """The agent's final answer."""
    result_json: JsonMap | None = None
    """The known fields of the CLI's result event, with `log` (counts, `complete`), `warnings` and failure
    evidence, which come from the adapter only."""

    @model_validator(mode="before")
    @classmethod
    def _make_strict(cls, given: object) -> object:
        return strict_copy(given)

    @model_serializer(mode="wrap")
    def _only_what_was_set(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        wire: dict[str, Any] = inner(self)
        keep = self.model_fields_set | {"exit_code", "signal", "timed_out", "usage_basis", "clear_session"}
        names = keep | {to_camel(name) for name in keep}
        return {key: value for key, value in wire.items() if key in names}

    def to_wire(self) -> JsonMap:
        """Return camelCase JSON that strict parsers can read.

        `exitCode`, `signal`, `timedOut`, `usageBasis` and `clearSession` are always there, other fields if
        they were set.
        """
        return self.model_dump(mode="json", by_alias=True)
