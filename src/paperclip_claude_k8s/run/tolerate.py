"""Callbacks of the host that may raise."""

import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("paperclip_claude_k8s")


async def tolerate(name: str, call: Callable[[], Awaitable[None]]) -> None:
    """A callback of the host that raises is the host's bug; the run goes on."""
    try:
        await call()
    except Exception as error:  # noqa: BLE001  # the host's bug must not end a paid run
        log.warning("%s raised %r; the run goes on", name, error)
