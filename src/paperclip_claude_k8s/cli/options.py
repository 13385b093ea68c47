"""Functions that several commands share: reading the config file, and choosing the cluster."""

import fcntl
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from paperclip_claude_k8s.base.strict_json import MAX_DEPTH
from paperclip_claude_k8s.cli.entry import ReportedError
from paperclip_claude_k8s.cli.runs.state import devcluster_folder
from paperclip_claude_k8s.host.unknown_settings import describe_unknown_keys

STAND_IN_IMAGE = "devcluster/claude:stand-in"
"""Default image on a development cluster, where Jobs run a stand-in for the Claude CLI unless --claude is
given."""
DEV_NAMESPACE = "paperclip"
"""Namespace of the Jobs on a development cluster."""
DEV_CLAIM = "paperclip-data"
"""Claim that every development cluster has: the default HOME of its agents, in which sessions are kept."""
MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""Largest size of the file of `--config`. No usable config is larger."""


_QUOTED = re.compile(r"'[!\w][^' ]+'")
"""A word of the file that PyYAML quotes in a message, such as a tag."""


class OptionsInvalid(ReportedError):
    """The options cannot be used; the message says what to change."""


def running_devcluster(env: Mapping[str, str]) -> Path | None:
    """The kubeconfig of the development cluster that `devcluster up` started; None if it is not running."""
    folder = devcluster_folder(env)
    kubeconfig = folder / "kubeconfig"
    if not kubeconfig.exists() or not is_locked(folder / "lock"):
        return None
    return kubeconfig


def is_locked(path: Path) -> bool:
    """Whether a running process holds this lock."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def merge_config(file: Path | None, options: Mapping[str, object]) -> dict[str, Any]:
    """The config file's settings, overridden by the options that are not None. Raises `OptionsInvalid`."""
    settings = _read_config(file) if file else {}
    return {**settings, **{key: value for key, value in options.items() if value is not None}}


def check_claude(claude: Path | None) -> Path | None:
    """Return `claude`, the path given by --claude. Raises `OptionsInvalid` if it does not exist."""
    if claude is not None and not claude.exists():
        raise OptionsInvalid(f"--claude {claude} does not exist")
    return claude


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:  # which may be a pipe or endless
            settings = read_settings_text(file.read(MAX_CONFIG_BYTES + 1))
    except yaml.MarkedYAMLError as error:
        raise OptionsInvalid(f"--config {path} cannot be read: {_yaml_fault(error)}") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:500]
        raise OptionsInvalid(f"--config {path} cannot be read: {reason}") from None
    if settings is None:  # a file of comments, such as `config init` writes
        return {}
    if not isinstance(settings, dict):
        raise OptionsInvalid(f"--config {path} must contain one object, in JSON or YAML")
    return settings


def _yaml_fault(error: yaml.MarkedYAMLError) -> str:
    """What is wrong, and where. PyYAML's own text also quotes the line, in which a secret may stand."""
    marks = (mark for mark in (error.problem_mark, error.context_mark) if mark is not None)
    place = next((f"line {mark.line + 1}, column {mark.column + 1}: " for mark in marks), "")
    problem = _QUOTED.sub("'...'", error.problem or "it is not YAML")
    return f"{place}{problem}"


def read_settings_text(content: bytes) -> object:
    """The value of a text in JSON or YAML. Raises `ValueError` and `yaml.YAMLError`.

    A text that begins with `{` is read as JSON, because error messages about JSON are better than about YAML.
    """
    if len(content) > MAX_CONFIG_BYTES:
        raise ValueError(f"the file is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    text = content.decode("utf-8-sig")
    if text.lstrip().startswith("{"):
        return json.loads(text)
    _check_yaml(text)
    try:
        return json.loads(json.dumps(yaml.safe_load(text), default=str))  # dates become texts
    except TypeError:
        why = "a key is a date or binary data; write it in quotes"
        raise ValueError(why) from None


def _check_yaml(text: str) -> None:
    """Raises `ValueError` for YAML that could take very long to read: with aliases, or nested deeply."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            why = "aliases (*name) are not read: a short text could describe billions of values"
            raise ValueError(why)  # noqa: TRY004  # it is about the text
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")


def check_known(settings: Mapping[str, Any]) -> None:
    """Raises `OptionsInvalid` if a setting is unknown, for `--strict`."""
    if unknown := describe_unknown_keys(settings):
        raise OptionsInvalid(f"--strict: unknown settings: {', '.join(unknown)}")


def running_cluster_settings(
    settings: dict[str, Any], *, devcluster: bool, claude: Path | None = None
) -> dict[str, Any] | None:
    """The settings, with a cluster that is running; None if a development cluster must be started first.

    With `devcluster`, that is the development cluster, whatever `settings` names. Raises `OptionsInvalid`.
    """
    if not devcluster:
        return settings
    kubeconfig = running_devcluster(os.environ)
    if kubeconfig is None:
        return None
    if claude is not None:
        raise OptionsInvalid(
            "--claude: the development cluster is already running; pass --claude to `devcluster up`"
        )
    return _devcluster_settings(settings, kubeconfig)


@asynccontextmanager
async def on_cluster(
    settings: dict[str, Any], *, devcluster: bool, claude: Path | None = None
) -> AsyncIterator[dict[str, Any]]:
    """The settings, with a cluster that runs at least for the duration of the block.

    With `devcluster`, that is the development cluster of `devcluster up`, or else a development cluster that
    is embedded in this process and ends with the block. Raises `OptionsInvalid`.
    """
    running = running_cluster_settings(settings, devcluster=devcluster, claude=claude)
    if running is not None:
        yield running
        return
    from paperclip_claude_k8s.devcluster import DevCluster  # noqa: PLC0415  # slow to import, and only needed here

    async with DevCluster.start(claude=claude) as cluster:
        if sys.stderr.isatty():
            print(f"development cluster: export KUBECONFIG={cluster.kubeconfig}", file=sys.stderr)  # noqa: T201
        yield _devcluster_settings(settings, cluster.kubeconfig)


def _devcluster_settings(settings: dict[str, Any], kubeconfig: Path) -> dict[str, Any]:
    others = {key: value for key, value in settings.items() if key != "kubeContext"}
    defaults = {"image": STAND_IN_IMAGE, "claimName": DEV_CLAIM}
    return {**defaults, **others, "kubeconfig": str(kubeconfig), "namespace": DEV_NAMESPACE}
