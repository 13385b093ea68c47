"""Reads a kubeconfig, and the files that it names, in a thread and with limits.

A kubeconfig comes from whoever wrote an agent's config. `KubeconfigRules`, which the administrator's policy
sets, say what it may do on this machine. Nothing that a file contains is ever quoted.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.base.host_files import (
    Allows,
    HostFile,
    HostFileError,
    HostFileMissing,
    HostFileRefused,
    anywhere,
    read_host_file,
)
from paperclip_claude_k8s.base.json_readers import as_trimmed, get_object, get_objects
from paperclip_claude_k8s.base.settings import Limits, Timings
from paperclip_claude_k8s.base.threads import call_in_thread
from paperclip_claude_k8s.cluster.kubeconfig_yaml import KubeconfigInvalid, parse_kubeconfig
from paperclip_claude_k8s.cluster.port import POLICY_REFUSED, UNUSABLE_CREDENTIALS, ClusterError


def allow_nothing(_: str) -> bool:
    """Allow no program, and no variable."""
    return False


def unchanged(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class KubeconfigRules:
    """What kubeconfigs may do on this machine. The defaults allow no programs."""

    may_be_read: Allows = anywhere
    """Whether a kubeconfig may be used, by its path with all links resolved."""
    may_run: Callable[[str], bool] = allow_nothing
    """Whether a kubeconfig may run this exec plugin, spelled as in the file; or use this `auth-provider`."""
    may_inherit: Callable[[str], bool] = allow_nothing
    """Whether exec plugins get this variable of the host, beside those that every plugin gets."""
    trusted: bool = False
    """The administrator named the kubeconfigs that may be used, so the token files that they name may be
    anywhere. Any other kubeconfig could send a token of the host, such as that of its service account, to a
    server of its author."""
    mask: Callable[[str], str] = unchanged
    """Masks credentials in what a plugin writes to stderr."""


NO_PROGRAMS = KubeconfigRules()


class KubeconfigRefused(ClusterError):
    """The rules do not allow what a kubeconfig needs. `allowed_by`: the policy's field that can allow it."""

    def __init__(self, rule: str, allowed_by: str) -> None:
        super().__init__(None, POLICY_REFUSED, f"{rule}, which `{allowed_by}` of this host's policy forbids")
        self.rule = rule
        self.allowed_by = allowed_by


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """The current context of a kubeconfig: cluster, user and namespace as they stand in the file."""

    path: str
    """As the config spells it."""
    real_path: str
    """Where the file is, all links resolved."""
    cluster: Mapping[str, Any] = field(repr=False)
    user: Mapping[str, Any] = field(repr=False)
    namespace: str | None

    @property
    def folder(self) -> Path:
        """The folder of the file. Paths in the file are relative to it."""
        return Path(self.real_path).parent

    def contains(self, real_path: str) -> bool:
        """Whether another file is in the folder of this one, or below it."""
        return Path(real_path).is_relative_to(self.folder)

    def unusable(self, why: str) -> ClusterError:
        return unusable(f"kubeconfig {self.path} {why}")

    def refused(self, why: str, allowed_by: str) -> KubeconfigRefused:
        return KubeconfigRefused(f"{self.path} {why}", allowed_by)


def unusable(why: str) -> ClusterError:
    return ClusterError(None, UNUSABLE_CREDENTIALS, f"{why}; set `kubeconfig` to a file that kubectl can use")


class KubeconfigReader:
    """Reads kubeconfigs, and the files that they name, by the given rules and limits."""

    def __init__(self, rules: KubeconfigRules, limits: Limits, timings: Timings) -> None:
        self._rules = rules
        self._limits = limits
        self._timings = timings

    async def read(self, path: str) -> Kubeconfig:
        """Read a kubeconfig and find its current context.

        Raises:
            ClusterError: status None, reason "Kubeconfig"; or "PolicyRefused" if it may not be used. The
                message names the file.
        """
        if os.pathsep in path:
            raise unusable(f"kubeconfig {path} names several files; only one is supported")
        try:
            file = await self._file(path, self._rules.may_be_read)
            return await call_in_thread(partial(_parse, path, file), self._timings.host_file, "YAML")
        except HostFileMissing:
            raise unusable(f"kubeconfig {path} does not exist") from None
        except HostFileRefused as error:
            raise KubeconfigRefused(f"{path} may not be used: {error}", "kubeconfigs") from None
        except HostFileError as error:
            raise unusable(f"kubeconfig {path!r} cannot be read: {error}") from None
        except TimeoutError:
            raise unusable(f"kubeconfig {path} takes too long to parse") from None
        except KubeconfigInvalid as error:
            raise unusable(f"kubeconfig {path} {error}") from None

    async def value(self, kubeconfig: Kubeconfig, source: Mapping[str, Any], key: str) -> str | None:
        """The text of `KEY-data`, in base64, or of the file that `KEY` names; None if neither is set.

        Raises:
            ClusterError: it cannot be read or is not text.
        """
        data, path = source.get(f"{key}-data"), source.get(key)
        try:
            if data:
                return base64.b64decode(data, validate=True).decode("ascii", "ignore")
            return (await self.named_file(kubeconfig, key, path)) if path else None
        except (binascii.Error, TypeError, ValueError):
            raise kubeconfig.unusable(f"has a {key}-data that is not base64") from None

    async def named_file(
        self, kubeconfig: Kubeconfig, key: str, path: object, allows: Allows = anywhere
    ) -> str:
        """The text of a file that a field of the kubeconfig names.

        Raises:
            ClusterError: the file cannot or must not be read; the message names the field.
        """
        if not isinstance(path, str):
            raise kubeconfig.unusable(f"has a {key} that is not a path")
        try:
            file = await self._file(str(kubeconfig.folder / path), allows)
        except HostFileRefused as error:
            raise kubeconfig.refused(f"names a {key} that may not be read: {error}", "kubeconfigs") from None
        except HostFileError as error:
            raise kubeconfig.unusable(f"names a {key} that cannot be read: {error}") from None
        return file.content.decode("ascii", "ignore")

    async def _file(self, path: str, allows: Allows) -> HostFile:
        limit, seconds = self._limits.kubeconfig_bytes, self._timings.host_file
        return await read_host_file(path, limit=limit, seconds=seconds, allows=allows)


def _parse(path: str, file: HostFile) -> Kubeconfig:
    """Raises `KubeconfigInvalid`."""
    loaded = parse_kubeconfig(file.content)
    context = _find(loaded, "contexts", loaded["current-context"])
    if context is None:
        raise KubeconfigInvalid("cannot be used: it must have exactly one context named by current-context")
    cluster = _find(loaded, "clusters", context.get("cluster"))
    if cluster is None:
        raise KubeconfigInvalid("cannot be used: it must have exactly one cluster named by its context")
    user = _find(loaded, "users", context["user"]) if context.get("user") else {}
    if user is None:
        raise KubeconfigInvalid("cannot be used: it must have exactly one user named by its context")
    return Kubeconfig(path, file.path, cluster, user, as_trimmed(context.get("namespace")))


def _find(kubeconfig: Mapping[str, Any], plural: str, name: object) -> dict[str, Any] | None:
    """The content of the entry of that name in a list of a kubeconfig; None unless there is exactly one."""
    found = [entry for entry in get_objects(kubeconfig, plural) if entry.get("name") == name]
    return get_object(found[0], plural.removesuffix("s")) if len(found) == 1 else None
