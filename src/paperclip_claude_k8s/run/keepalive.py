"""Signs of life for the host while the agent is quiet (SPEC 9)."""

import asyncio
import logging

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
