"""The class of a failed result, from its machine-readable fields.

The Claude CLI prints `api_error` since about version 2.1.300, `error` of an `assistant` event and
`api_error_status` since 2.0, and `subtype` in all versions. The most specific field decides. Examples:

    {"api_error": "usage_limit_reached", "api_error_status": 429}     QUOTA, by `api_error`
    {"api_error_status": 429}                                         TRANSIENT, by the status
"""

from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.claude.known_texts import FailureClass
from paperclip_claude_k8s.claude.results import is_max_turns
from paperclip_claude_k8s.claude.transcript import Transcript

_IMAGE_ERROR = "image_error"
"""Value of `terminal_reason` if the API rejects an image. With status 413 it rejects the request as a whole,
which is too large, usually because of its images."""
_STATUS_TOO_LARGE = 413
_SERVER_ERRORS = range(500, 600)
_BY_TERMINAL_REASON = {
    "budget_exhausted": FailureClass.MAX_BUDGET,
    "prompt_too_long": FailureClass.PROMPT_TOO_LONG,
    "blocking_limit": FailureClass.PROMPT_TOO_LONG,
    "rapid_refill_breaker": FailureClass.PROMPT_TOO_LONG,
}
BY_API_ERROR = {
    "usage_limit_reached": FailureClass.QUOTA,
    "model_requires_usage_credits": FailureClass.CREDIT_EXHAUSTED,
    "long_context_credits_required": FailureClass.CREDIT_EXHAUSTED,
    "consent_unanswered": FailureClass.CREDIT_EXHAUSTED,
    "api_key_auth_disabled": FailureClass.AUTH_REQUIRED,
    "gateway_session_expired": FailureClass.AUTH_REQUIRED,
    "gateway_signin_required": FailureClass.AUTH_REQUIRED,
    "invalid_credential_header": FailureClass.AUTH_REQUIRED,
    "named_profile_unusable": FailureClass.AUTH_REQUIRED,
    "oauth_refresh_store_refused": FailureClass.AUTH_REQUIRED,
    "org_disabled_credential": FailureClass.AUTH_REQUIRED,
    "provider_credentials": FailureClass.AUTH_REQUIRED,
    "stored_login_refused": FailureClass.AUTH_REQUIRED,
    "no_allowed_fallback": FailureClass.MODEL_NOT_FOUND,
    "model_substitution_disabled": FailureClass.MODEL_NOT_FOUND,
    "tls_untrusted_ca": FailureClass.UNTRUSTED_CERTIFICATE,
    "tls_cert_signature_failure": FailureClass.UNTRUSTED_CERTIFICATE,
    "connection_failed": FailureClass.TRANSIENT,
    "computer_slept": FailureClass.TRANSIENT,
    "no_response": FailureClass.TRANSIENT,
    "stream_idle_timeout": FailureClass.TRANSIENT,
    "max_output_tokens": FailureClass.MAX_OUTPUT,
    "autocompact_thrashing": FailureClass.PROMPT_TOO_LONG,
    "message_over_context_limit": FailureClass.PROMPT_TOO_LONG,
    "media_removed": FailureClass.POISONED_SESSION,
    "pdf_password_protected": FailureClass.POISONED_SESSION,
    "pdf_too_large": FailureClass.POISONED_SESSION,
    "tool_history_mismatch": FailureClass.POISONED_SESSION,
    "dlp_request_denied": FailureClass.REFUSAL,
    "safety_monitor_blocked": FailureClass.REFUSAL,
    "empty_completion": FailureClass.EMPTY_REPLY,
}
"""Value of `api_error` of the result or of the last message → class. The CLI adds values over time; a value
that is not listed here names no class."""
BY_ERROR = {
    "authentication_failed": FailureClass.AUTH_REQUIRED,
    "oauth_org_not_allowed": FailureClass.AUTH_REQUIRED,
    "account_on_hold": FailureClass.AUTH_REQUIRED,
    "verification_required": FailureClass.AUTH_REQUIRED,
    "cloud_credential_error": FailureClass.AUTH_REQUIRED,
    "billing_error": FailureClass.CREDIT_EXHAUSTED,
    "model_not_found": FailureClass.MODEL_NOT_FOUND,
    "max_output_tokens": FailureClass.MAX_OUTPUT,
    "rate_limit": FailureClass.TRANSIENT,
    "overloaded": FailureClass.TRANSIENT,
    "server_error": FailureClass.TRANSIENT,
}
"""Value of `error` of `assistant` events → class."""
_BY_STATUS = {
    401: FailureClass.AUTH_REQUIRED,
    402: FailureClass.CREDIT_EXHAUSTED,
    404: FailureClass.MODEL_NOT_FOUND,
    408: FailureClass.TRANSIENT,
    _STATUS_TOO_LARGE: FailureClass.PROMPT_TOO_LONG,
    429: FailureClass.TRANSIENT,
}
"""HTTP status → class. 403 is not listed, because gateways send it for other reasons as well."""
_BY_API_ERROR_TYPE = {
    "authentication_error": FailureClass.AUTH_REQUIRED,
    "billing_error": FailureClass.CREDIT_EXHAUSTED,
    "not_found_error": FailureClass.MODEL_NOT_FOUND,
    "rate_limit_error": FailureClass.TRANSIENT,
    "timeout_error": FailureClass.TRANSIENT,
    "api_error": FailureClass.TRANSIENT,
    "overloaded_error": FailureClass.TRANSIENT,
    "request_too_large": FailureClass.PROMPT_TOO_LONG,
}
"""Value of `api_error_type`, the type of the API's own error → class."""


def class_by_fields(result: Mapping[str, Any], transcript: Transcript) -> FailureClass | None:
    """The class of a failed result by its fields; None if they do not tell it."""
    if is_max_turns(result):
        return FailureClass.MAX_TURNS
    if result.get("subtype") == "error_max_budget_usd":
        return FailureClass.MAX_BUDGET
    if result.get("stop_reason") == "refusal":
        return FailureClass.REFUSAL
    status = result.get("api_error_status")
    terminal_reason = str(result.get("terminal_reason"))
    if terminal_reason == _IMAGE_ERROR and status != _STATUS_TOO_LARGE:
        return FailureClass.POISONED_SESSION
    last = transcript.last_error
    return (
        _BY_TERMINAL_REASON.get(terminal_reason)
        or _by_api_error(get_text(result, "api_error") or get_text(last, "api_error"), transcript)
        or BY_ERROR.get(get_text(last, "error"))
        or (class_of_status(status) if isinstance(status, int) else None)
        or _BY_API_ERROR_TYPE.get(get_text(result, "api_error_type"))
    )


def class_of_status(status: int) -> FailureClass | None:
    """The class of an HTTP status of the API; None if the status names no class."""
    return FailureClass.TRANSIENT if status in _SERVER_ERRORS else _BY_STATUS.get(status)


def _by_api_error(api_error: str, transcript: Transcript) -> FailureClass | None:
    parameters = get_object(transcript.last_error, "api_error_params")
    if api_error == "max_output_tokens" and parameters.get("cut") == "context_window":
        return FailureClass.CONTEXT_WINDOW
    if api_error == "provider_credentials" and parameters.get("remedy") == "model_access":
        return FailureClass.MODEL_NOT_FOUND
    return BY_API_ERROR.get(api_error)
