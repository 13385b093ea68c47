"""Settings that cannot work: too new for the API server, or too long for the kernel of the node.

An older server silently drops fields it does not know. A string that the kernel refuses would make the
container fail with "argument list too long", long after the Job was created.
"""

from collections.abc import Iterator
from typing import TypeAlias

from paperclip_claude_k8s.base.json_readers import get_object, get_objects
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.run_plan import RunPlan

Version: TypeAlias = tuple[int, int]

SIDECARS_SINCE: Version = (1, 29)
"""Native sidecars (init containers with `restartPolicy: Always`) are on by default from this version."""
REPLACEMENT_POLICY_SINCE: Version = (1, 29)
"""`podReplacementPolicy` is on by default from this version. Older servers drop the field, and replace a Pod
while it is still terminating."""
SUSPEND_SINCE: Version = (1, 24)
"""Suspended Jobs are stable from this version."""

EXEC_STRING_BYTES = 128 * 1024
"""Linux refuses to start a program with an argument or environment string of this size or more."""


def requirements(config: AdapterConfig) -> tuple[tuple[str, Version], ...]:
    """The settings in use that need a minimum version, each with that version."""
    docker = (("enableDocker", SIDECARS_SINCE),) if config.enable_docker else ()
    queue = (("queueName", SUSPEND_SINCE),) if config.queue_name else ()
    return (*docker, *queue)


def unmet(config: AdapterConfig, version: Version) -> tuple[tuple[str, Version], ...]:
    """The settings in use that a server of this version does not support, each with its minimum version."""
    return tuple(need for need in requirements(config) if version < need[1])


def settings_too_long(config: AdapterConfig) -> tuple[str, ...]:
    """The settings with a value that no node can pass to a program.

    They are looked for before a plan is made: all runs wait while a plan searches them for secrets.
    """
    values = {
        "model": (config.model or "",),
        "effort": (config.effort or "",),
        "allowedTools": (",".join(config.allowed_tools),),
        "extraArgs": config.extra_args,
        "podTemplate": _strings_of(config.pod_template or {}),
    }
    return tuple(key for key, given in values.items() if any(map(_exceeds_exec_limit, given)))


def excludes_too_long(plan: RunPlan) -> tuple[str, ...]:
    """As `settings_too_long`, for the setting that becomes a string only if a folder is uploaded."""
    text = "\n".join(plan.config.upload_excludes) if plan.workspace.folder else ""
    return ("uploadExcludes",) if _exceeds_exec_limit(text) else ()


def _strings_of(template: JsonMap) -> Iterator[str]:
    """Arguments and environment strings of the containers of a Pod template."""
    spec = get_object(template, "spec")
    for container in (*get_objects(spec, "initContainers"), *get_objects(spec, "containers")):
        for part in ("command", "args"):
            given = container.get(part)
            yield from map(str, given if isinstance(given, list) else ())
        for entry in get_objects(container, "env"):
            yield f"{entry.get('name')}={entry.get('value')}"


def _exceeds_exec_limit(value: str) -> bool:
    return len(value.encode("utf-8", "surrogatepass")) >= EXEC_STRING_BYTES
