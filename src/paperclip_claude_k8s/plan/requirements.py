"""Settings that an older API server would take and not follow: it drops fields it does not know."""

from typing import TypeAlias

from paperclip_claude_k8s.host.config import AdapterConfig

Version: TypeAlias = tuple[int, int]

SIDECARS_SINCE: Version = (1, 29)
"""Init containers that go on running (`restartPolicy: Always`) are on by default from here."""
SUSPEND_SINCE: Version = (1, 24)
"""Suspended Jobs are stable from here."""


def requirements(config: AdapterConfig) -> tuple[tuple[str, Version], ...]:
    """Setting and the least version it needs, for the settings in use."""
    docker = (("enableDocker", SIDECARS_SINCE),) if config.enable_docker else ()
    queue = (("queueName", SUSPEND_SINCE),) if config.queue_name else ()
    return (*docker, *queue)


def unmet(config: AdapterConfig, version: Version) -> tuple[tuple[str, Version], ...]:
    return tuple(need for need in requirements(config) if version < need[1])
