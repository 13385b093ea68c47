"""Where on this host the files and folders may be that a config names, by the administrator's policy.

In the policy's lists of folders, `$PAPERCLIP_HOME` is the folder of the Paperclip server (PAPERCLIP_HOME, or
`~/.paperclip`), `$SHARED_VOLUME` is where the shared volume is mounted on this host, and `$SERVER_SKILLS` are
the skills that are part of the server.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from paperclip_claude_k8s.host.policy import PAPERCLIP_HOME, SERVER_SKILLS, SHARED_VOLUME, Policy

SERVER_SKILLS_VARIABLE = "CLAUDE_K8S_SERVER_SKILLS"
"""Folders of the skills that are part of the Paperclip server, separated by `:`; the npm package sets it."""
KERNEL_FOLDERS = ("/proc", "/sys", "/dev")
"""They show processes and devices of the host. No policy can allow files in them."""


@dataclass(frozen=True, slots=True)
class FolderRule:
    """Where a file or folder may be. All paths are absolute."""

    roots: tuple[str, ...] | None
    """It must be in one of these folders, or be one of them. None: anywhere that is not refused."""
    refused: tuple[str, ...] = ()
    """Without `roots`: it must not be in one of these folders, or be one of them."""

    def allows(self, path: str) -> bool:
        """Whether the rule allows this path, whose links are resolved. Links in the folders are resolved."""
        if _is_in(path, KERNEL_FOLDERS):
            return False
        return not _is_in(path, self.refused) if self.roots is None else _is_in(path, self.roots)


@dataclass(frozen=True, slots=True)
class HostFolders:
    """The folders of this host that the policy's words stand for.

    `mount` is the mount point of the shared volume in a Pod of the host, even if this process runs elsewhere.
    """

    policy: Policy
    env: Mapping[str, str]
    mount: str

    def instructions(self, volume: str | None) -> FolderRule:
        """Where an agent's instructions may be. `volume`: see `volume`."""
        return FolderRule(self._resolve(self.policy.instruction_roots, volume))

    def skills(self, volume: str | None) -> FolderRule:
        """Where the folders of skills may be. `volume`: see `volume`."""
        return FolderRule(self._resolve(self.policy.skill_roots, volume))

    @property
    def kubeconfigs(self) -> FolderRule:
        """Where a kubeconfig may be; by default not where agents, or users of the server, can write files."""
        if self.policy.kubeconfigs is not None:
            return FolderRule(self._resolve(self.policy.kubeconfigs, self.mount))
        written = (SHARED_VOLUME, f"{PAPERCLIP_HOME}/instances", *(self.policy.shared_volume_dirs or ()))
        return FolderRule(None, self._resolve(written, self.mount))

    def volume(self, configured: str | None) -> str:
        """The shared volume's folder on this host, as far as the administrator decides on it.

        `configured` is `sharedVolumeDir`. It counts only if the policy names it, because otherwise a config
        could make any folder the shared volume, and read the files in it.
        """
        named = FolderRule(self._resolve(self.policy.shared_volume_dirs or (), self.mount))
        chosen = None if configured is None else normal_path(configured)
        return chosen if chosen is not None and named.allows(chosen) else self.mount

    def _resolve(self, folders: Iterable[str], volume: str | None) -> tuple[str, ...]:
        """The folders as absolute paths; a folder is left out if its word stands for nothing here."""
        values = {
            PAPERCLIP_HOME: [self.env.get("PAPERCLIP_HOME", "").strip() or "~/.paperclip"],
            SHARED_VOLUME: [volume] if volume else [],
            SERVER_SKILLS: self.env.get(SERVER_SKILLS_VARIABLE, "").split(":"),
        }
        paths = []
        for folder in folders:
            word, _, rest = folder.partition("/")
            paths += [f"{value}/{rest}" for value in values[word]] if word in values else [folder]
        absolute = (self._without_tilde(path) for path in paths)
        return tuple(normal_path(path) for path in absolute if path.startswith("/"))

    def _without_tilde(self, path: str) -> str:
        home = self.env.get("HOME", "").strip()
        return f"{home}{path[1:]}" if path.split("/", 1)[0] == "~" else path


def normal_path(path: str) -> str:
    """The path without `.`, `..` and repeated slashes; its links are not resolved."""
    return "/" + os.path.normpath(path).lstrip("/")


def _is_in(path: str, folders: Iterable[str]) -> bool:
    candidates = {*folders, *map(os.path.realpath, folders)}
    return any(PurePosixPath(path).is_relative_to(folder) for folder in candidates)
