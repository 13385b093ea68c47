"""The baseline file on the shared volume: MCP servers for every agent, merged into those of host and config.

A server can be a command, which the agent's Pod runs. If agents could change the file, each of them
could run commands in the Pods of all others. The file is read only if agents cannot change it, or if the
administrator's policy says so (`mcpBaseline`).
"""

import json
import os
import posixpath
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from paperclip_claude_k8s.base.json_readers import as_object
from paperclip_claude_k8s.base.strict_json import is_too_deep
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.mcp import MCP_BASELINE
from paperclip_claude_k8s.plan.paths import POD_HOME
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.volume.safefs import read_file

BASELINE_PATH = "PAPERCLIP_SHARED_MCP_BASELINE_PATH"
"""Environment variable with the path of another baseline file in the Pod; empty: no baseline."""
MAX_DEPTH = 32
"""Levels of nesting of a file with servers; a server has three or four."""

_DEFAULT_USER = AdapterConfig().run_as_user


@dataclass(frozen=True, slots=True)
class Baseline:
    """The servers by name; `note` says why an existing file is not used."""

    servers: Mapping[str, object] = field(default_factory=dict, repr=False)
    note: str | None = None


async def read_baseline(
    ctx: ExecutionContext, config: AdapterConfig, settings: ProcessSettings, volume: str | None
) -> Baseline:
    """The servers of the baseline file; none if there is no such file here, or if the file is not needed.

    The file is not needed if neither host nor config has servers: the CLI then reads the file itself.
    `volume`: the path of the shared volume in this process.
    """
    path = posixpath.normpath(settings.env.get(BASELINE_PATH, f"{POD_HOME}/{MCP_BASELINE}").strip())
    other_servers = config.mcp_servers or as_object(ctx.runtime_mcp).get("servers")
    if not other_servers or volume is None or not path.startswith(f"{POD_HOME}/"):
        return Baseline()
    if settings.policy.mcp_baseline is False:
        return Baseline()
    check = _no_check if settings.policy.mcp_baseline else partial(_check_owner, config.run_as_user)
    here = f"{volume.rstrip('/')}/{path.removeprefix(f'{POD_HOME}/')}"
    try:
        reading = partial(_read, here, volume, check, settings.limits.mcp_baseline_bytes)
        return await call_in_thread(reading, settings.timings.host_file, place_of(here))
    except FileNotFoundError:
        return Baseline()
    except (OSError, ValueError, RecursionError) as error:  # OSError includes TimeoutError
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "no answer in time"
        return Baseline(note=f"MCP servers in {path} are left out: {reason[:200]}")


def _read(path: str, volume: str, check: Callable[[int], None], limit: int) -> Baseline:
    """Read the file. `check` is called with the open file.

    Raises:
        OSError, ValueError, RecursionError: the file cannot be read or trusted, or is not JSON.
    """
    content = json.loads(read_file(path, volume, limit, check))
    if is_too_deep(content, MAX_DEPTH):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    return Baseline(as_object(as_object(content).get("mcpServers")))


def _no_check(_: int) -> None:
    """The check of a file that the policy trusts: nothing is checked."""


def _check_owner(agent: int | None, file: int) -> None:
    """Raises `ValueError` if agents can change the file. `agent`: uid of this run's agent; None: unknown."""
    status = os.fstat(file)
    step = "let root own it, writable for its owner only, or set `mcpBaseline` in the policy"
    if status.st_uid not in trusted_owners(agent, os.geteuid()):
        raise ValueError(f"its owner is user {status.st_uid}, as whom agents may run; {step}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"users other than its owner may change it; {step}")


def trusted_owners(agent: int | None, host: int) -> set[int]:
    """The users who may own the file: root and the host's user, except users as whom agents run.

    Other agents of the volume have the default uid, unless their configs say otherwise. If the agent's uid is
    unknown, it may be that of the host's user, so only root is trusted.
    """
    return {0} if agent is None else {0, host} - {agent, _DEFAULT_USER}
