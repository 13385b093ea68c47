"""What several commands share: the config file, the cluster that is meant, and the one answer on stdout."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

FAILED = 1
USAGE = 2


class WishInvalid(Exception):
    """Options that cannot be used; the message says what to do."""


def print_answer(answer: Mapping[str, Any], code: int) -> int:
    """Print the one JSON object that is all of stdout; the exit code goes through."""
    print(json.dumps(answer, indent=2, ensure_ascii=False))  # noqa: T201  # stdout is this one object
    return code


def layered(file: Path | None, options: Mapping[str, object]) -> dict[str, Any]:
    """The config file's settings, with the options that were given on top."""
    given = _config_file(file) if file else {}
    return {**given, **{key: value for key, value in options.items() if value is not None}}


def existing(claude: Path | None) -> Path | None:
    """The CLI that is to be used instead of the stand-in, if it is there."""
    if claude is not None and not claude.exists():
        raise WishInvalid(f"--claude {claude} does not exist")
    return claude


def _config_file(path: Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WishInvalid(f"--config {path} cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise WishInvalid(f"--config {path} must hold one JSON object")
    return given


@asynccontextmanager
async def on_cluster(
    settings: dict[str, Any], *, devcluster: bool, claude: Path | None = None
) -> AsyncIterator[dict[str, Any]]:
    """The settings, pointed at the embedded cluster where that is wished."""
    if not devcluster:
        yield settings
        return
    from paperclip_claude_k8s.devcluster import DevCluster  # noqa: PLC0415  # a server nobody else needs

    async with DevCluster.start(claude=claude) as cluster:
        if sys.stderr.isatty():
            print(f"development cluster: export KUBECONFIG={cluster.kubeconfig}", file=sys.stderr)  # noqa: T201
        yield {
            "image": "devcluster/claude:stand-in",
            **settings,
            "kubeconfig": str(cluster.kubeconfig),
            "namespace": cluster.namespace,
        }
