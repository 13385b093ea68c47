"""Reads kubeconfigs, and the files that they name, in a thread and with limits.

A kubeconfig comes from whoever wrote an agent's config. `KubeconfigRules`, which the administrator's policy
sets, say what it may do on this machine. Nothing that a file contains is quoted, except names of contexts.
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
from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.base.settings import Limits, Timings
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.cluster.kubeconfig_merging import (
    ContextUnknown,
    Definition,
    Selection,
    select_context,
)
from paperclip_claude_k8s.cluster.kubeconfig_yaml import KubeconfigInvalid, parse_kubeconfig
from paperclip_claude_k8s.cluster.port import POLICY_REFUSED, UNUSABLE_CREDENTIALS, ClusterError


def allow_nothing(_: str) -> bool:
    """Allow no program, and no variable."""
    return False


def allow_any(_: str) -> bool:
    """Allow every context."""
    return True


def unchanged(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class KubeconfigRules:
    """What kubeconfigs may do on this machine. The defaults allow no programs."""

    may_be_read: Allows = anywhere
    """Whether the kubeconfig at this path, in which all links are resolved, may be used."""
    may_run: Callable[[str], bool] = allow_nothing
    """Whether a kubeconfig may run this exec plugin, spelled as in the file; or use this `auth-provider`."""
    may_inherit: Callable[[str], bool] = allow_nothing
    """Whether exec plugins get this variable of the host, beside those that every plugin gets."""
    may_use: Callable[[str], bool] = allow_any
    """Whether the context of this name may be used, whether it was chosen or is the current one."""
    trusted: bool = False
    """Whether the administrator named the kubeconfigs that may be used. If so, several may be merged, and the
    token files that they name may be anywhere. A kubeconfig of somebody else could send a token of the host,
    such as that of its service account, or a token from a merged kubeconfig, to a server of its author."""
    mask: Callable[[str], str] = unchanged
    """Masks credentials in what a plugin writes to stderr."""


NO_PROGRAMS = KubeconfigRules()


@dataclass(frozen=True, slots=True)
class ClusterSource:
    """What names a cluster and an identity there."""

    kubeconfig: str | None
    """Path of a kubeconfig, or several with `:` between them; None: the Pod's service account."""
    context: str | None = None
    """Name of the context; None: the kubeconfig's current one."""


class KubeconfigRefused(ClusterError):
    """The rules do not allow what a kubeconfig needs. `allowed_by`: the policy's field that can allow it."""

    def __init__(self, rule: str, allowed_by: str) -> None:
        super().__init__(None, POLICY_REFUSED, f"{rule}, which `{allowed_by}` of this host's policy forbids")
        self.rule = rule
        self.allowed_by = allowed_by


@dataclass(frozen=True, slots=True)
class KubeconfigPart:
    """The cluster or user of a context, as it stands in its file. Paths in it are relative to `folder`."""

    path: str
    """The file, as the config spells it."""
    folder: Path
    fields: Mapping[str, Any] = field(repr=False)

    def contains(self, real_path: str) -> bool:
        """Whether a path without links is in the folder of this kubeconfig, or below it. Blocks."""
        return Path(real_path).is_relative_to(os.path.realpath(self.folder))

    def unusable(self, why: str) -> ClusterError:
        return unusable(f"kubeconfig {self.path} {why}")

    def refused(self, why: str, allowed_by: str) -> KubeconfigRefused:
        return KubeconfigRefused(f"{self.path} {why}", allowed_by)


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig, or of several that are merged: its cluster, user and namespace."""

    context: str
    cluster: KubeconfigPart
    user: KubeconfigPart
    namespace: str | None


def unusable(why: str) -> ClusterError:
    return ClusterError(None, UNUSABLE_CREDENTIALS, f"{why}; set `kubeconfig` to a file that kubectl can use")


def kubeconfig_files(paths: str) -> list[str]:
    """The files that a value of KUBECONFIG names. Empty entries count for nothing."""
    return [path for path in paths.split(os.pathsep) if path]


class KubeconfigReader:
    """Reads kubeconfigs, and the files that they name, by the given rules and limits."""

    def __init__(self, rules: KubeconfigRules, limits: Limits, timings: Timings) -> None:
        self._rules = rules
        self._limits = limits
        self._timings = timings

    async def read(self, paths: str, context: str | None = None) -> Kubeconfig:
        """Read a kubeconfig, or several with `:` between them, and find a context; None: the current one.

        Several are merged as kubectl merges KUBECONFIG: the first definition of each name counts, and files
        that do not exist are left out.

        Raises:
            ClusterError: status None, reason "Kubeconfig"; or "PolicyRefused" if it may not be used. The
                message names the file.
        """
        files = kubeconfig_files(paths)
        if len(files) > 1 and not self._rules.trusted:
            raise KubeconfigRefused(f"{paths} names several kubeconfigs to be merged", "kubeconfigs")
        if len(files) > self._limits.kubeconfig_files:
            raise unusable(f"KUBECONFIG names more than {self._limits.kubeconfig_files} files")
        loaded = [found for path in files if (found := await self._load(path)) is not None]
        if not loaded:
            single = len(files) == 1
            raise unusable(f"kubeconfig {paths} does not exist" if single else f"no file of {paths} exists")
        try:
            selection = select_context(loaded, context)
        except ContextUnknown as error:
            text = (
                f"kubeconfig {paths} {error}; choose one by `kubeContext`, or --context at the command line"
            )
            raise ClusterError(None, UNUSABLE_CREDENTIALS, text) from None
        except KubeconfigInvalid as error:
            raise unusable(f"kubeconfig {paths} {error}") from None
        if not self._rules.may_use(selection.name):
            raise KubeconfigRefused(f"{paths} has the context {selection.name[:100]!r}", "kubeContexts")
        return self._kubeconfig(selection)

    def _kubeconfig(self, selection: Selection) -> Kubeconfig:
        namespace = as_trimmed(selection.context.get("namespace"))
        cluster, user = self._part(selection.cluster), self._part(selection.user)
        return Kubeconfig(selection.name, cluster, user, namespace)

    def _part(self, definition: Definition) -> KubeconfigPart:
        return KubeconfigPart(definition.path, Path(definition.folder), definition.fields)

    async def _load(self, path: str) -> Definition | None:
        """Read one kubeconfig; None if there is no such file. Raises `ClusterError`, which names the file."""
        try:
            file = await self._file(path, self._rules.may_be_read)
            parsing = partial(parse_kubeconfig, file.content)
            content = await call_in_thread(parsing, self._timings.host_file, "YAML")
            finding = partial(self._folder, path, file)
            folder = await call_in_thread(finding, self._timings.host_file, place_of(path))
        except HostFileMissing:
            return None
        except HostFileRefused as error:
            raise KubeconfigRefused(f"{path} may not be used: {error}", "kubeconfigs") from None
        except HostFileError as error:
            raise unusable(f"kubeconfig {path!r} cannot be read: {error}") from None
        except TimeoutError:
            raise unusable(f"kubeconfig {path} takes too long to parse, or its volume hangs") from None
        except KubeconfigInvalid as error:
            raise unusable(f"kubeconfig {path} {error}") from None
        return Definition(path, folder, content)

    def _folder(self, path: str, file: HostFile) -> str:
        """The folder to which paths in the file are relative. Blocks, because it resolves links.

        kubectl uses the folder of the path as it is spelled, even if the path is a link. It is used here too
        if the rules allow it, both by its name and by its real path. Otherwise the folder of the file to
        which the link leads is used: whoever can put a link into a folder that the rules do not allow must
        not be able to add files to a kubeconfig of someone else.
        """
        spelled = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111  # links are not resolved
        folder, name = os.path.split(spelled)
        places = (spelled, os.path.join(os.path.realpath(folder), name))  # noqa: PTH118  # not a Path
        return folder if all(map(self._rules.may_be_read, places)) else os.path.dirname(file.path)  # noqa: PTH120

    async def value(self, part: KubeconfigPart, key: str) -> str | None:
        """The text in `KEY-data`, from base64, or in the file that `KEY` names; None if neither is set.

        Raises:
            ClusterError: it cannot be read or is not text.
        """
        data, path = part.fields.get(f"{key}-data"), part.fields.get(key)
        try:
            if data:
                return base64.b64decode(data, validate=True).decode("ascii", "ignore")
            return (await self.named_file(part, key, path)) if path else None
        except (binascii.Error, TypeError, ValueError):
            raise part.unusable(f"has a {key}-data that is not base64") from None

    async def named_file(
        self, part: KubeconfigPart, key: str, path: object, allows: Allows = anywhere
    ) -> str:
        """The text of a file that a field of a kubeconfig names.

        Raises:
            ClusterError: the file cannot or must not be read; the message names the field.
        """
        if not isinstance(path, str):
            raise part.unusable(f"has a {key} that is not a path")
        try:
            # a path may have 1 MiB here, and a Path would split it
            file = await self._file(os.path.join(part.folder, path), allows)  # noqa: PTH118
        except HostFileRefused as error:
            raise part.refused(f"names a {key} that may not be read: {error}", "kubeconfigs") from None
        except HostFileError as error:
            raise part.unusable(f"names a {key} that cannot be read: {error}") from None
        return file.content.decode("ascii", "ignore")

    async def _file(self, path: str, allows: Allows) -> HostFile:
        limit, seconds = self._limits.kubeconfig_bytes, self._timings.host_file
        return await read_host_file(path, limit=limit, seconds=seconds, allows=allows)
