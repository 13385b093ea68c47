"""The folders of this host from which a config may use files, as the administrator's policy defines them.

In the policy's lists of folders, `$PAPERCLIP_INSTANCE` is the server's folder for this instance
(PAPERCLIP_HOME or `~/.paperclip`, then `instances` and PAPERCLIP_INSTANCE_ID or `default`), `$SHARED_VOLUME`
is where the shared volume is mounted on this host, and `$SERVER_SKILLS` are the skills that are part of the
server.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from paperclip_claude_k8s.base.folder_rules import FolderRule, normal_path
from paperclip_claude_k8s.base.host_files import KERNEL_FOLDERS
from paperclip_claude_k8s.host.policy import PAPERCLIP_INSTANCE, SERVER_SKILLS, SHARED_VOLUME, Policy

SERVER_SKILLS_VARIABLE = "CLAUDE_K8S_SERVER_SKILLS"
"""Folders of the skills that are part of the Paperclip server, separated by `:`; the npm package sets it."""
_INSTANCES = f"{PAPERCLIP_INSTANCE}/.."
"""The folder with the folders of all instances of the server."""
_SYSTEM = ("/bin", "/boot", "/etc", "/lib*", "/root", "/run", "/sbin", "/usr", "/var")
_HIDDEN = ("/home/*/.*", "/home/*/*/.*", "~/.*")
"""`_SYSTEM` and `_HIDDEN`: folders that no config may name as the shared volume, unless the policy does."""


@dataclass(frozen=True, slots=True)
class HostFolders:
    """The rules for paths that a config names. `mount`: where the host's own Pod has the shared volume."""

    policy: Policy
    env: Mapping[str, str]
    mount: str

    @property
    def kubeconfigs(self) -> FolderRule:
        """Where a kubeconfig may be; by default not where agents or users of the server can write."""
        if self.policy.kubeconfigs is not None:
            return FolderRule(self._resolve(self.policy.kubeconfigs, self.mount))
        written = (SHARED_VOLUME, PAPERCLIP_INSTANCE, *(self.policy.shared_volume_dirs or ()))
        return FolderRule(refused=self._resolve(written, self.mount))

    def instructions(self, volume: str | None) -> FolderRule:
        """Where instructions of agents may be. `volume`: what `trusted_volume` returned; None without one."""
        return self._rule(self.policy.instruction_roots, volume)

    def skills(self, volume: str | None) -> FolderRule:
        """Where the folders of skills may be. `volume`: what `trusted_volume` returned; None without one."""
        return self._rule(self.policy.skill_roots, volume)

    def uploads(self, volume: str | None) -> FolderRule:
        """Where uploaded folders may be. `volume`: what `trusted_volume` returned; None without one.

        The host writes what an agent changes into these folders. So the hidden folders of the volume, which
        hold settings of its agents, are private. Its top is private too: all agents would use a `.mcp.json`
        that the host writes there.
        """
        return self._rule(self.policy.upload_roots, volume, f"{SHARED_VOLUME}/.*")

    @property
    def volumes(self) -> FolderRule:
        """Which folders a config may name as `sharedVolumeDir`.

        By default no folder in the mounted volume: agents can put links there.
        """
        if self.policy.shared_volume_dirs is not None:
            return FolderRule(self._resolve(self.policy.shared_volume_dirs, self.mount))
        refused = self._resolve((*KERNEL_FOLDERS, *_SYSTEM, *_HIDDEN, f"{self.mount}/*"), self.mount)
        return FolderRule(None, refused, refused_themselves=("/", "/home", "/home/*"))

    def trusted_volume(self, configured: str | None) -> str:
        """The folder of this host in which the rules expect the shared volume, whether there is one or not.

        `configured`, the setting `sharedVolumeDir`, is returned only if the policy names it, else `mount`: a
        config could otherwise make any folder the shared volume, and read the files in it.
        """
        named = FolderRule(self._resolve(self.policy.shared_volume_dirs or (), self.mount))
        chosen = None if configured is None else normal_path(configured)
        return chosen if chosen is not None and named.allows_name(chosen) else self.mount

    def _rule(self, roots: Iterable[str], volume: str | None, *private: str) -> FolderRule:
        """The roots, without the server's keys and database, which may be on the shared volume."""
        return FolderRule(self._resolve(roots, volume), private=self._resolve((_INSTANCES, *private), volume))

    def _resolve(self, folders: Iterable[str], volume: str | None) -> tuple[str, ...]:
        """The folders as absolute paths, without those that begin with a word that has no value here."""
        home = self.env.get("PAPERCLIP_HOME", "").strip() or "~/.paperclip"
        instance = self.env.get("PAPERCLIP_INSTANCE_ID", "").strip() or "default"
        values = {
            PAPERCLIP_INSTANCE: [f"{home}/instances/{instance}"],
            SHARED_VOLUME: [volume] if volume else [],
            SERVER_SKILLS: self.env.get(SERVER_SKILLS_VARIABLE, "").split(":"),
        }
        paths = []
        for folder in folders:
            word, _, rest = folder.partition("/")
            paths += [f"{value}/{rest}" for value in values[word] if value] if word in values else [folder]
        absolute = (self._without_tilde(path) for path in paths)
        return tuple(normal_path(path) for path in absolute if path.startswith("/"))

    def _without_tilde(self, path: str) -> str:
        home = self.env.get("HOME", "").strip()
        return f"{home}{path[1:]}" if path.split("/", 1)[0] == "~" and home.startswith("/") else path
