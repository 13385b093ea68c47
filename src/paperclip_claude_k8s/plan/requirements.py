"""Settings that an older API server would take and not follow: it drops fields it does not know."""

from typing import TypeAlias

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import JsonMap

Version: TypeAlias = tuple[int, int]

SIDECARS_SINCE: Version = (1, 29)
"""Init containers that go on running (`restartPolicy: Always`) are on by default from here."""
REPLACEMENT_POLICY_SINCE: Version = (1, 29)
"""`podReplacementPolicy` is on by default from here; older servers drop it and replace dying Pods."""
SUSPEND_SINCE: Version = (1, 24)
"""Suspended Jobs are stable from here."""


def requirements(config: AdapterConfig) -> tuple[tuple[str, Version], ...]:
    """Setting and the least version it needs, for the settings in use."""
    docker = (("enableDocker", SIDECARS_SINCE),) if config.enable_docker else ()
    queue = (("queueName", SUSPEND_SINCE),) if config.queue_name else ()
    return (*docker, *queue)


def remote_target(target: JsonMap | None) -> str | None:
    """What kind of place of the host's own the run was meant for; None for ours, a Job (HOST.md 3.1)."""
    if not target or target.get("kind") != "remote":
        return None
    return str(target.get("transport") or "remote")


def unmet(config: AdapterConfig, version: Version) -> tuple[tuple[str, Version], ...]:
    return tuple(need for need in requirements(config) if version < need[1])
