"""Records what a host receives of a run."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

STATUS_PREFIX = "[paperclip] "
"""Beginning of the adapter's own lines in the log of a run."""


@dataclass(slots=True)
class HostLog:
    """Everything that a host received of one run."""

    chunks: list[tuple[str, str]] = field(default_factory=list)
    """(stream, text) of every call of `onLog`."""
    meta: list[dict[str, Any]] = field(default_factory=list)
    """What `onMeta` received."""
    spawned: list[dict[str, Any]] = field(default_factory=list)
    """What `onSpawn` received."""
    times: list[tuple[float, str]] = field(default_factory=list)
    """(loop time, first 200 characters) of every chunk."""

    async def on_log(self, stream: str, text: str) -> None:
        """Record a chunk; to be passed as `onLog`."""
        self.chunks.append((stream, text))
        self.times.append((asyncio.get_running_loop().time(), text[:200]))

    async def on_meta(self, meta: dict[str, Any]) -> None:
        """Record `meta`; to be passed as `onMeta`."""
        self.meta.append(meta)

    async def on_spawn(self, event: dict[str, Any]) -> None:
        """Record `event`; to be passed as `onSpawn`."""
        self.spawned.append(event)

    @property
    def stdout(self) -> str:
        """The agent's stdout, without the adapter's lines."""
        return "".join(
            text for stream, text in self.chunks if stream == "stdout" and not text.startswith(STATUS_PREFIX)
        )

    @property
    def stderr(self) -> str:
        """The agent's stderr, without the adapter's lines."""
        return "".join(
            text for stream, text in self.chunks if stream == "stderr" and not text.startswith(STATUS_PREFIX)
        )

    @property
    def status(self) -> str:
        """The adapter's lines, with its warnings."""
        return "".join(text for _, text in self.chunks if text.startswith(STATUS_PREFIX))
