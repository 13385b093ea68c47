"""Settings that need a minimum API server version: an older server silently drops fields it does not know."""

from typing import TypeAlias

from paperclip_claude_k8s.host.config import AdapterConfig

Version: TypeAlias = tuple[int, int]

SIDECARS_SINCE: Version = (1, 29)
"""Native sidecars (init containers with `restartPolicy: Always`) are on by default from this version."""
REPLACEMENT_POLICY_SINCE: Version = (1, 29)
"""`podReplacementPolicy` is on by default from this version; older servers drop the field, and
replace a Pod while it is still terminating."""
SUSPEND_SINCE: Version = (1, 24)
"""Suspended Jobs are stable from this version."""


def requirements(config: AdapterConfig) -> tuple[tuple[str, Version], ...]:
    """The settings in use that need a minimum version, each with that version."""
    docker = (("enableDocker", SIDECARS_SINCE),) if config.enable_docker else ()
    queue = (("queueName", SUSPEND_SINCE),) if config.queue_name else ()
    return (*docker, *queue)


def unmet(config: AdapterConfig, version: Version) -> tuple[tuple[str, Version], ...]:
    """The settings in use that a server of this version does not support, each with its minimum version."""
    return tuple(need for need in requirements(config) if version < need[1])
