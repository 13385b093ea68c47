"""Signs of life for the host while the agent is quiet (SPEC 9)."""

import asyncio
import logging
from datetime import timedelta

from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.host.context import ExecutionContext, iso
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator

log = logging.getLogger("paperclip_claude_k8s")

FIRST_MINUTE = 60.0
"""Seconds of silence after which the keepalive slows down."""


async def keep_alive(vigil: Vigil, ports: Ports, say: Narrator) -> None:
    """Say every now and then that the Job still runs, and since when nothing came."""
    loop, timings = asyncio.get_running_loop(), ports.house.timings
    quiet_since, told = loop.time(), 0.0
    while True:
        told += timings.keepalive if told < FIRST_MINUTE else timings.keepalive_later
        await asyncio.sleep(quiet_since + told - loop.time())
        if say.last_output is not None and say.last_output > quiet_since:
            quiet_since, told = say.last_output, 0.0
            continue
        text = f"keepalive — job {vigil.ref.name} running ({told:.0f}s since last output)"
        await say.status(text + _unreachable(vigil, loop.time()))


def _unreachable(vigil: Vigil, now: float) -> str:
    since = vigil.silent_since
    return (
        ""
        if since is None
        else f"; API server out of reach for {now - since:.0f}s, the Job is believed to go on"
    )


async def tell_progress(ctx: ExecutionContext, vigil: Vigil, ports: Ports, say: Narrator) -> None:
    """The same for a host that shows progress by itself, and forgets it after 90 s (HOST.md 3.2).

    No line of output is made up for it: only output counts as activity there (HOST.md 3.4).
    """
    loop, timings, began = asyncio.get_running_loop(), ports.house.timings, asyncio.get_running_loop().time()
    while ctx.on_runtime_progress is not None:
        heard = say.last_output
        message = f"job {vigil.ref.name} {_how_it_is(vigil, heard, loop.time())}"
        progress = {"phase": "adapter_startup", "message": message}
        if heard is not None:
            progress["lastEventAt"] = iso(ports.house.now() - timedelta(seconds=loop.time() - heard))
        try:
            await ctx.on_runtime_progress(progress)
        except Exception as error:  # noqa: BLE001  # the host's bug must not end a paid run
            log.warning("onRuntimeProgress of run %s raised %r; the run goes on", ctx.run_id, error)
        early = loop.time() - began < FIRST_MINUTE
        await asyncio.sleep(timings.keepalive if early else timings.keepalive_later)


def _how_it_is(vigil: Vigil, heard: float | None, now: float) -> str:
    if vigil.silent_since is not None:
        return _unreachable(vigil, now).removeprefix("; ")
    pod = vigil.known.pod
    if heard is None:
        return "waits for its Pod" if pod is None else f"Pod {pod.phase or 'Pending'}, no output yet"
    return f"running ({now - heard:.0f}s since last output)"


async def tell_spawn(ctx: ExecutionContext, ports: Ports, pid: int, *, again: bool) -> None:
    """Tell the host that the run lives: at its start, and `again` every `Timings.spawn_refresh` seconds."""
    started = iso(ports.house.now())
    while ctx.on_spawn is not None:
        try:
            await ctx.on_spawn({"pid": pid, "processGroupId": None, "startedAt": started})
        except Exception as error:  # noqa: BLE001  # the host's bug must not end a paid run
            log.warning("onSpawn of run %s raised %r; the run goes on", ctx.run_id, error)
        if not again:
            return
        await asyncio.sleep(ports.house.timings.spawn_refresh)
