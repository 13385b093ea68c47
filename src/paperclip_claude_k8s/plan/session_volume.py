"""The session volume of a run: where the Claude CLI keeps transcripts, credentials and caches between Pods.

Sessions are either in HOME on the shared volume, or on a claim of their own, or in the Pod only. On a claim,
each agent has one folder, `agents/<company>/<agent>`, with these folders in it:

    session    mounted at `SESSION_DIR` in the agent's container, which mounts nothing else of the claim
    git        objects of earlier clones, mounted only in the container that clones (`git_containers`)

The names of folder and claim contain a hash of the whole ids, so that two agents never share one.
"""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from paperclip_claude_k8s.base.json_readers import get_object, get_objects, get_text
from paperclip_claude_k8s.cluster.labels import (
    ADAPTER_LABEL,
    ADAPTER_TYPE,
    AGENT_LABEL,
    CLAIM_PER_LABEL,
    COMPANY_LABEL,
)
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, HomePod, JsonObject
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.quantity import parse_bytes
from paperclip_claude_k8s.host.session_volume_settings import AUTO, NONE, SHARED
from paperclip_claude_k8s.plan.identity import Identity, slug, user_labels
from paperclip_claude_k8s.plan.paths import POD_HOME, is_in_any

VolumeKind: TypeAlias = Literal["shared", "claim", "auto", "none"]
HOME_VOLUME = "home"
"""Name of the Pod's volume that is mounted at HOME."""
SESSION_VOLUME = "session"
"""Name of the Pod's volume for sessions, if they are not in HOME."""
CONFIG_DIR_VARIABLE = "CLAUDE_CONFIG_DIR"
"""Where the CLI keeps its files; without it, that is the folder `.claude` in HOME."""
CACHE_VARIABLE = "XDG_CACHE_HOME"
CLAIM_PREFIX = "ac-sessions-"
"""Beginning of the names of the claims that `auto` creates."""
_HASH_CHARS = 10
_AGENT_FOLDERS = "agents"
_SESSION_FOLDER = "session"
_ONE_NODE_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@dataclass(frozen=True, slots=True)
class SessionVolume:
    """Where the sessions of one agent are, and whether they outlive its Pods."""

    kind: VolumeKind
    claim_name: str = ""
    """The claim, if `kind` is claim or auto; else ""."""
    agent_folder: str = ""
    """The agent's folder on that claim, relative to the claim."""
    why_lost: str = ""
    """Why sessions end with their Pod, as a clause; "" if they outlive it."""
    why_empty: str = ""
    """Why the volume has no session to resume although it keeps sessions; "" if it may have one."""
    one_node: bool = False
    """Whether Pods that use the claim at the same time have to be on the same node."""

    @property
    def session_folder(self) -> str:
        """What the agent's container mounts at `SESSION_DIR`, relative to the claim."""
        return posixpath.join(self.agent_folder, _SESSION_FOLDER)

    @property
    def may_have_sessions(self) -> bool:
        """Whether the volume may have a session of an earlier Pod."""
        return not self.why_lost and not self.why_empty

    @property
    def separate(self) -> bool:
        """Whether CLAUDE_CONFIG_DIR is outside of HOME."""
        return self.kind != SHARED

    @property
    def identity(self) -> str:
        """Stored with a session, which is resumed only if this is unchanged; "" for the shared volume."""
        return self.claim_name or (NONE if self.kind == NONE else "")


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """What was looked up about the claim of `sessionVolume` before the run was planned."""

    claim: ClaimSnapshot | None = None
    """The claim; None if it does not exist or could not be read."""
    readable: bool = False
    """Whether reading the claim succeeded: if so, a `claim` of None means that it does not exist."""
    forbidden: str = ""
    """Which right is missing for `auto`, in the API server's words; "" if none is known to be missing."""


UNKNOWN_CLAIM = ClaimFacts()
SHARED_VOLUME = SessionVolume(SHARED)


def choose_session_volume(
    config: AdapterConfig, identity: Identity, home: HomePod | None, facts: ClaimFacts = UNKNOWN_CLAIM
) -> SessionVolume:
    """Where the sessions of this agent are; decided by the config and by what was found in the cluster."""
    folder = agent_folder(identity)
    if config.session_volume == SHARED:
        has_volume = (home is not None and home.claim_name) or _template_has_volume(config)
        why_lost = "" if has_volume else "sessionVolume is shared, and no claim is mounted at /paperclip"
        return SessionVolume(SHARED, why_lost=why_lost)
    if config.session_volume == NONE:
        return SessionVolume(NONE, why_lost="sessionVolume is none")
    if config.session_volume != AUTO:
        modes = facts.claim.access_modes if facts.claim is not None else ()
        return SessionVolume(
            "claim", config.session_volume, folder, one_node=bool(modes) and _ONE_NODE_MODES.issuperset(modes)
        )
    if facts.forbidden:
        return SessionVolume(NONE, why_lost=f"sessionVolume is auto, but {facts.forbidden}")
    why_empty = ""
    if facts.readable and facts.claim is None:
        why_empty = f"its volume, claim {claim_name(config, identity)}, no longer exists"
    modes = facts.claim.access_modes if facts.claim is not None else (config.session_volume_access_mode,)
    # Normally the Pods of an agent run one after the other; these settings let several use the claim at once.
    concurrent_pods = config.session_volume_per == "company" or config.concurrency_scope == "task"
    return SessionVolume(
        "auto",
        claim_name(config, identity),
        folder,
        why_empty=why_empty,
        one_node=concurrent_pods and bool(modes) and _ONE_NODE_MODES.issuperset(modes),
    )


def _template_has_volume(config: AdapterConfig) -> bool:
    """Whether `podTemplate` has a volume for HOME or CLAUDE_CONFIG_DIR, which may keep sessions."""
    spec = get_object(config.pod_template or {}, "spec")
    if any(volume.get("name") == HOME_VOLUME for volume in get_objects(spec, "volumes")):
        return True
    folders = (POD_HOME, config.env_values.get(CONFIG_DIR_VARIABLE, POD_HOME))
    return any(
        is_in_any(folder, [path]) or is_in_any(path, [folder])
        for container in get_objects(spec, "containers")
        for mount in get_objects(container, "volumeMounts")
        if (path := get_text(mount, "mountPath").rstrip("/"))
        for folder in folders
    )


def session_volume_notes(config: AdapterConfig, volume: SessionVolume, facts: ClaimFacts) -> Iterator[str]:
    """What the run's log says about its session volume."""
    if volume.why_lost:
        yield f"The session ends with its Pod: {volume.why_lost}"
    if not volume.separate:
        return
    ignored = [name for name in (CONFIG_DIR_VARIABLE, CACHE_VARIABLE) if name in config.env]
    if ignored:
        yield f"Ignored config env, because sessionVolume sets it: {', '.join(ignored)}"
    if volume.kind == "auto" and facts.claim is not None:
        yield from _differences(config, facts.claim)


def _differences(config: AdapterConfig, claim: ClaimSnapshot) -> Iterator[str]:
    """Where the existing claim of `auto` differs from the config, which describes new claims only."""
    wanted = config.session_volume_class
    pairs = (
        ("sessionVolumeClass", claim.storage_class or "none", wanted or claim.storage_class or "none"),
        ("sessionVolumeAccessMode", ", ".join(claim.access_modes), config.session_volume_access_mode),
        ("sessionVolumeSize", claim.size, config.session_volume_size),
    )
    for key, found, configured in pairs:
        same = found == configured
        if key == "sessionVolumeSize":
            same = _bytes(found) == _bytes(configured)
        if not same:
            yield f"Claim {claim.name} exists with {key} {found}, not {configured}: it is used as it is"


def _bytes(quantity: str) -> int:
    try:
        return parse_bytes(quantity)
    except ValueError:
        return 0


def agent_folder(identity: Identity) -> str:
    """The agent's folder on a session volume. Two agents never have the same one."""
    company = _name_with_hash(identity.company_id or "none", identity.company_id or "")
    return posixpath.join(_AGENT_FOLDERS, company, _name_with_hash(identity.agent_id, identity.agent_id))


def claim_name(config: AdapterConfig, identity: Identity) -> str:
    """The name of the claim that `auto` creates for this agent or its company."""
    per_agent = config.session_volume_per == "agent"
    shown = identity.agent_id if per_agent else identity.company_id or "none"
    ids = (identity.company_id or "", identity.agent_id) if per_agent else (identity.company_id or "",)
    return f"{CLAIM_PREFIX}{_name_with_hash(shown, config.session_volume_per, *ids)}"


def _name_with_hash(shown: str, *ids: str) -> str:
    """A name of the legal characters of `shown` and a hash of the whole ids."""
    text = "\0".join(f"{len(part)}:{part}" for part in ids)
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARS]
    return "-".join(part for part in (slug(shown), digest) if part)


def claim_manifest(
    config: AdapterConfig, identity: Identity, namespace: str, last_use: Mapping[str, str]
) -> JsonObject:
    """The claim that `auto` creates. It has no owner, so it outlives every Job. `last_use`: annotations."""
    accepted, _ = user_labels(config.labels)
    per_agent = config.session_volume_per == "agent"
    labels = {
        **accepted,
        "app.kubernetes.io/managed-by": "paperclip",
        "app.kubernetes.io/component": "session-volume",
        ADAPTER_LABEL: ADAPTER_TYPE,
        CLAIM_PER_LABEL: config.session_volume_per,
        COMPANY_LABEL: identity.company,
        AGENT_LABEL: identity.agent if per_agent else None,
    }
    spec: JsonObject = {
        "accessModes": [config.session_volume_access_mode],
        "resources": {"requests": {"storage": config.session_volume_size}},
    }
    if config.session_volume_class is not None:
        spec["storageClassName"] = config.session_volume_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(config, identity),
            "namespace": namespace,
            "labels": {key: value for key, value in labels.items() if value},
            "annotations": dict(last_use),
        },
        "spec": spec,
    }
