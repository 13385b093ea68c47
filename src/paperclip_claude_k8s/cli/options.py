"""What several commands share: the config file, the cluster that is meant, and the one answer on stdout."""

import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.cli.entry import say
from paperclip_claude_k8s.cli.runs.folders import devcluster_folder

STAND_IN = "devcluster/claude:stand-in"
DEV_NAMESPACE = "paperclip"
"""Where a development cluster's Jobs live."""


class WishInvalid(Exception):
    """Options that cannot be used; the message says what to do."""


def print_answer(answer: Mapping[str, Any], code: int) -> int:
    """Print the one JSON object that is all of stdout; the exit code goes through."""
    say(answer)
    return code


def standing_cluster(env: Mapping[str, str]) -> Path | None:
    """The kubeconfig of the development cluster that `devcluster up` started, while it runs."""
    folder = devcluster_folder(env)
    kubeconfig = folder / "kubeconfig"
    if not kubeconfig.exists() or not is_locked(folder / "lock"):
        return None
    return kubeconfig


def is_locked(path: Path) -> bool:
    """Whether a living process holds this lock."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


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


def pointed(
    settings: dict[str, Any], *, devcluster: bool, claude: Path | None = None
) -> dict[str, Any] | None:
    """The settings, pointed at the development cluster that is up; None where one has to be started."""
    if not devcluster:
        return settings
    standing = standing_cluster(os.environ)
    if standing is None:
        return None
    if claude is not None:
        raise WishInvalid("--claude: the development cluster is up already; give it to `devcluster up`")
    return _of_devcluster(settings, standing)


@asynccontextmanager
async def on_cluster(
    settings: dict[str, Any], *, devcluster: bool, claude: Path | None = None
) -> AsyncIterator[dict[str, Any]]:
    """The settings, pointed at a development cluster where that is wished: at the one that is up, if any."""
    there = pointed(settings, devcluster=devcluster, claude=claude)
    if there is not None:
        yield there
        return
    from paperclip_claude_k8s.devcluster import DevCluster  # noqa: PLC0415  # a server nobody else needs

    async with DevCluster.start(claude=claude) as cluster:
        if sys.stderr.isatty():
            print(f"development cluster: export KUBECONFIG={cluster.kubeconfig}", file=sys.stderr)  # noqa: T201
        yield _of_devcluster(settings, cluster.kubeconfig)


def _of_devcluster(settings: dict[str, Any], kubeconfig: Path) -> dict[str, Any]:
    return {"image": STAND_IN, **settings, "kubeconfig": str(kubeconfig), "namespace": DEV_NAMESPACE}
