"""What the host stores between runs of a task, and whether it may be resumed (HOST.md 6.1, 6.2)."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "sessionId": ("sessionId", "session_id"),
    "cwd": ("cwd", "workdir", "folder"),
    "workspaceId": ("workspaceId", "workspace_id"),
    "repoUrl": ("repoUrl", "repo_url"),
    "repoRef": ("repoRef", "repo_ref"),
    "promptBundleKey": ("promptBundleKey", "prompt_bundle_key"),
    "mcpServerIdentity": ("mcpServerIdentity", "mcp_server_identity"),
}
"""Each stored field, and the names under which earlier versions and sibling adapters wrote it."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""The only ids the CLI's `--resume` takes; anything else would open its picker or fail the run."""


def _first_text(given: Mapping[object, object], names: tuple[str, ...]) -> str | None:
    texts = (value.strip() for name in names if isinstance(value := given.get(name), str))
    return next((text for text in texts if text), None)


def deserialize(raw: object) -> dict[str, str] | None:
    """Stored JSON → session params under their wire names, trimmed; None without a session id.

    The host runs its codec over our own results too: a field dropped here is lost for good.
    """
    if not isinstance(raw, Mapping):
        return None
    found = {name: _first_text(raw, spellings) for name, spellings in _SPELLINGS.items()}
    params = {name: text for name, text in found.items() if text is not None}
    return params if "sessionId" in params else None


def serialize(params: object) -> dict[str, str] | None:
    """Session params → what is stored; the same shape, so that nothing depends on who wrote it."""
    return deserialize(params)


def display_id(params: object) -> str | None:
    """What a person is shown for this session: its id."""
    known = deserialize(params)
    return known["sessionId"] if known else None


class SessionCodec:
    """The codec under the wire's method names and under Python's."""

    __slots__ = ()

    deserialize = staticmethod(deserialize)
    serialize = staticmethod(serialize)
    display_id = staticmethod(display_id)
    get_display_id = staticmethod(display_id)
    getDisplayId = staticmethod(display_id)  # noqa: N815  # the wire's name


SESSION_CODEC = SessionCodec()

SESSION_MANAGEMENT: JsonMap = {
    "supportsSessionResume": True,
    "nativeContextManagement": "confirmed",
    "defaultSessionCompaction": {
        "enabled": True,
        "maxSessionRuns": 0,
        "maxRawInputTokens": 0,
        "maxSessionAgeHours": 0,
    },
}
"""The CLI compacts its conversations itself: no threshold (0) makes the host start a new session."""


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """The session to go on with; without one, `why_not` says what spoke against the host's wish."""

    session_id: str | None = None
    why_not: str | None = None


def resume_request(
    ctx: ExecutionContext,
    *,
    cwd: str,
    prompt_bundle_key: str | None = None,
    mcp_identity: str | None = None,
) -> ResumeRequest:
    """May the host's session be resumed here? `cwd` is the working directory as the Pod sees it.

    The CLI keeps transcripts per working directory, and a changed bundle or MCP set would not reach a
    resumed conversation: so all three must be what they were. The bundle key and the cwd may be unknown, and
    all three where the host names nothing but the session: it does so for a run that follows at once.
    """
    params = deserialize(ctx.runtime.session_params) or {}
    session = params.get("sessionId") or ctx.runtime.session_id
    if session is None:
        return ResumeRequest()
    stored_cwd = params.get("cwd", cwd)
    stored_mcp = params.get("mcpServerIdentity") if params.keys() - {"sessionId"} else mcp_identity
    objections = (
        (not _UUID.fullmatch(session), "its id is not a UUID"),
        (params.get("promptBundleKey", prompt_bundle_key) != prompt_bundle_key, "the prompt bundle changed"),
        ((stored_mcp or None) != (mcp_identity or None), "the set of MCP servers changed"),
        (
            posixpath.normpath(stored_cwd) != posixpath.normpath(cwd),
            f"it belongs to another working directory ({stored_cwd}, now {cwd})",
        ),
    )
    why_not = next((reason for stands, reason in objections if stands), None)
    return ResumeRequest(None, why_not) if why_not else ResumeRequest(session)
