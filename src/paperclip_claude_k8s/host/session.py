"""Session params: what a host stores between runs of a task, and whether the session may be resumed."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from paperclip_claude_k8s.base.path_lengths import path_is_too_long
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap

FIELD_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "sessionId": ("sessionId", "session_id"),
    "cwd": ("cwd", "workdir", "folder"),
    "workspaceId": ("workspaceId", "workspace_id"),
    "repoUrl": ("repoUrl", "repo_url"),
    "repoRef": ("repoRef", "repo_ref"),
    "promptBundleKey": ("promptBundleKey", "prompt_bundle_key"),
    "mcpServerIdentity": ("mcpServerIdentity", "mcp_server_identity"),
    "sessionVolume": ("sessionVolume", "session_volume"),
}
"""Each stored field, with the names that earlier versions and related adapters wrote."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""The only ids that the CLI's `--resume` accepts; with others it opens a picker or fails."""


def _first_text(given: Mapping[object, object], names: tuple[str, ...]) -> str | None:
    texts = (value.strip() for name in names if isinstance(value := given.get(name), str))
    return next((text for text in texts if text), None)


def deserialize(raw: object) -> dict[str, str] | None:
    """Return stored JSON as session params under their camelCase names, trimmed; None without a session id.

    The host applies this to `sessionParams` of results as well, so a field that is dropped here is lost.
    """
    if not isinstance(raw, Mapping):
        return None
    texts = {name: _first_text(raw, spellings) for name, spellings in FIELD_SPELLINGS.items()}
    params = {name: text for name, text in texts.items() if text is not None}
    return params if "sessionId" in params else None


def serialize(params: object) -> dict[str, str] | None:
    """Return session params as the host stores them, in the shape that `deserialize` returns."""
    return deserialize(params)


def display_id(params: object) -> str | None:
    """Return what a person sees as the name of the session: its id; None without a session id."""
    session = deserialize(params)
    return session["sessionId"] if session else None


class SessionCodec:
    """The host's session codec, with camelCase and snake_case method names."""

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
"""The CLI compacts its conversations itself.

Limits of 0 keep the host from starting a new session because the old one is long.
"""


@dataclass(frozen=True, slots=True)
class ResumeDecision:
    """Whether the host's session is resumed."""

    session_id: str | None = None
    """The session to resume; None for a fresh one."""
    reason: str | None = None
    """Why the host's session is not resumed; None if it is, or if the host named none."""


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """Where this run's session is kept."""

    volume: str = ""
    """Name of the session volume; "" for the shared volume."""
    why_empty: str = ""
    """Why no session of an earlier Pod is there; "" if one may be."""


SHARED_PLACE = SessionPlace()
_SHARED = "the shared volume"


def decide_resume(
    ctx: ExecutionContext,
    *,
    cwd: str,
    prompt_bundle_key: str | None = None,
    mcp_identity: str | None = None,
    place: SessionPlace = SHARED_PLACE,
) -> ResumeDecision:
    """Decide whether the host's session may be resumed. `cwd` is the working directory in the Pod.

    The CLI keeps transcripts per working directory, and a changed prompt bundle or set of MCP servers would
    not reach a resumed conversation. So directory, bundle, servers and session volume must be those of the
    stored session. A stored session without a bundle key or cwd fits any bundle or directory. A stored
    session without an MCP identity had no servers. If the host passes only the session id, as it does for a
    run that follows another at once, nothing is compared.
    """
    params = deserialize(ctx.runtime.session_params) or {}
    session = params.get("sessionId") or ctx.runtime.session_id
    if session is None:
        return ResumeDecision()
    stored_cwd = params.get("cwd", cwd)
    stored_volume = params.get("sessionVolume", "") if params.keys() - {"sessionId"} else place.volume
    stored_mcp = params.get("mcpServerIdentity") if params.keys() - {"sessionId"} else mcp_identity
    objections = (
        (not _UUID.fullmatch(session), "its id is not a UUID"),
        (bool(place.why_empty), place.why_empty),
        (stored_volume == "none", "it ended with its Pod, because sessionVolume was none"),
        (
            stored_volume != place.volume,
            f"it is on another volume ({stored_volume or _SHARED}, now {place.volume or _SHARED})",
        ),
        (params.get("promptBundleKey", prompt_bundle_key) != prompt_bundle_key, "the prompt bundle changed"),
        ((stored_mcp or None) != (mcp_identity or None), "the set of MCP servers changed"),
        (
            path_is_too_long(stored_cwd) or posixpath.normpath(stored_cwd) != posixpath.normpath(cwd),
            f"it belongs to another working directory ({stored_cwd[: LIMITS.path_bytes]}, now {cwd})",
        ),
    )
    reason = next((reason for applies, reason in objections if applies), None)
    return ResumeDecision(None, reason) if reason else ResumeDecision(session)
