"""What a Pod's containers see: volumes as local folders, rewritten paths, environment variables.

Mount paths do not exist on this machine. Each volume is a local folder, and a mount path at the start of an
env value, an argument or the working directory is rewritten to that folder. For example, with a claim mounted
at `/data`, the argument `/data/run.log` becomes `/tmp/dev/claims/paperclip/c/run.log`.
"""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from paperclip_claude_k8s.devcluster.container import Command
from paperclip_claude_k8s.devcluster.kinds import SECRETS, Object
from paperclip_claude_k8s.devcluster.node import NODE
from paperclip_claude_k8s.devcluster.store import Store

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERMINATION_LOG = "/dev/termination-log"
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class Missing(Exception):
    """A Secret or key does not exist yet, and the kubelet waits for it. `reason` is the waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class PodEnvironment:
    """Volumes, environment variables and command lines of one Pod.

    `folder`: the Pod's root folder; `state`: the cluster's folder; `binaries`: the first folder of PATH.
    """

    def __init__(self, pod: Object, store: Store, folder: Path, state: Path, binaries: Path) -> None:
        self._meta = pod["metadata"]
        self._spec = pod["spec"]
        self._store = store
        self._folder = folder
        self._state = state
        self._binaries = binaries
        self._paths = Paths()

    def mount_volumes(self) -> None:
        """Create the folder of every volume and register all mount paths. Raises `Missing`."""
        folders: dict[str, Path] = {}
        for volume in self._spec.get("volumes") or []:
            folders[volume["name"]] = self._volume(volume)
        for spec in [*(self._spec.get("initContainers") or []), *self._spec["containers"]]:
            for mount in spec.get("volumeMounts") or []:
                folder = _below(folders[mount["name"]], mount.get("subPath", ""))
                folder.mkdir(parents=True, exist_ok=True)
                self._paths.add(mount["mountPath"], folder)

    def variables(self, spec: Object) -> dict[str, str]:
        """PATH, LANG, HOME and what the container declares, without the variables of this process.

        Raises `Missing`.
        """
        env = {"PATH": f"{self._binaries}:{STANDARD_PATH}", "LANG": "C.UTF-8", "HOME": str(self._folder)}
        for source in spec.get("envFrom") or []:
            env |= self._env_from(source)
        declared: dict[str, str] = {}
        for entry in spec.get("env") or []:
            value = self._env_value(entry, declared)
            if value is not None:
                declared[entry["name"]] = value
        message_file = self.message_file(spec["name"])
        message_file.touch()
        self._paths.add(TERMINATION_LOG, message_file)  # each container has its own file
        return env | {name: self._paths.local(value) for name, value in declared.items()}

    def command(self, spec: Object, env: Mapping[str, str]) -> Command:
        argv = [*(spec.get("command") or ["sh", "-c", "exit 0"]), *(spec.get("args") or [])]
        cwd = Path(self._paths.local(str(spec.get("workingDir", ""))) or self._folder)
        if not cwd.resolve().is_relative_to(self._state):
            cwd = self._folder  # the working directory is in the image, which does not exist here
        cwd.mkdir(parents=True, exist_ok=True)
        return Command([self._paths.local(expand(part, env)) for part in argv], env, cwd)

    def message_file(self, container: str) -> Path:
        """The file behind the container's `/dev/termination-log`."""
        return _below(self._folder, f"{container}.message")

    def _volume(self, volume: Object) -> Path:
        folder = _below(self._folder / "volumes", volume["name"])
        if claim := volume.get("persistentVolumeClaim"):
            folder = _below(self._state / "claims", self._meta["namespace"], claim["claimName"])
        if secret := volume.get("secret"):
            stored = self._store.find(SECRETS, self._meta["namespace"], secret.get("secretName", ""))
            write_secret(folder, secret, stored)
        for source in (volume.get("projected") or {}).get("sources") or []:
            part = source.get("secret") or {}
            stored = self._store.find(SECRETS, self._meta["namespace"], part.get("name", ""))
            write_secret(folder, {**part, "secretName": part.get("name", "")}, stored)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _env_from(self, source: Object) -> dict[str, str]:
        ref = source.get("secretRef") or {}
        secret = self._store.find(SECRETS, self._meta["namespace"], ref.get("name", ""))
        if secret is None and not ref.get("optional"):
            raise Missing("CreateContainerConfigError", f'secret "{ref.get("name")}" not found')
        keys = (secret or {}).get("data", {})
        values = {key: secret_value(secret, {"key": key}, self._meta["namespace"]) for key in keys}
        return {
            f"{source.get('prefix', '')}{key}": value for key, value in values.items() if value is not None
        }

    def _env_value(self, entry: Object, declared: Mapping[str, str]) -> str | None:
        source = entry.get("valueFrom")
        if not source:
            return expand(entry.get("value", ""), declared)
        if ref := source.get("secretKeyRef"):
            secret = self._store.find(SECRETS, self._meta["namespace"], ref.get("name", ""))
            return secret_value(secret, ref, self._meta["namespace"])
        fields = {
            "metadata.name": self._meta["name"],
            "metadata.namespace": self._meta["namespace"],
            "metadata.uid": self._meta["uid"],
            "spec.nodeName": NODE,
            "status.podIP": "127.0.0.1",
        }
        return fields.get((source.get("fieldRef") or {}).get("fieldPath", ""))


def _below(folder: Path, *parts: str) -> Path:
    """The path below `folder`. Raises ValueError if `..` or a link by an earlier container leads out."""
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{'/'.join(parts)} leads out of its volume")
    return path


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand `$(NAME)` to its value, if it has one, and `$$` to `$`, as Kubernetes does."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)


def secret_value(secret: Object | None, ref: Object, namespace: str) -> str | None:
    """The value of a secretKeyRef; None if it is optional and absent. Raises `Missing`."""
    name, key = ref.get("name", ""), ref.get("key", "")
    value = (secret or {}).get("data", {}).get(key)
    if value is not None:
        return base64.b64decode(value).decode("utf-8", "surrogateescape")
    if ref.get("optional"):
        return None
    if secret is None:
        raise Missing("CreateContainerConfigError", f'secret "{name}" not found')
    raise Missing("CreateContainerConfigError", f"couldn't find key {key} in Secret {namespace}/{name}")


def write_secret(folder: Path, volume: Object, secret: Object | None) -> None:
    """Write the files of a secret volume. Raises `Missing`."""
    name = volume.get("secretName", "")
    if secret is None:
        if volume.get("optional"):
            return
        raise Missing("ContainerCreating", f'MountVolume.SetUp failed for volume: secret "{name}" not found')
    data: dict[str, str] = secret.get("data", {})
    items = volume.get("items") or [{"key": key, "path": key} for key in data]
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        if item["key"] not in data:
            if volume.get("optional"):
                continue
            raise Missing("ContainerCreating", f"references non-existent secret key: {item['key']}")
        path = _below(folder, item["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data[item["key"]]))
        path.chmod(item.get("mode") or volume.get("defaultMode") or 0o644)


class Paths:
    """Mount paths and their local folders, longest path first."""

    def __init__(self) -> None:
        self._mounts: list[tuple[str, str]] = []

    def add(self, mount_path: str, folder: Path) -> None:
        mount = mount_path.rstrip("/")
        # an earlier container may have another folder at this path
        self._mounts = [pair for pair in self._mounts if pair[0] != mount]
        self._mounts.append((mount, str(folder)))
        self._mounts.sort(key=lambda pair: -len(pair[0]))

    def local(self, text: str) -> str:
        """The text with a mount path at its start replaced by the local folder; other text unchanged."""
        for mount, folder in self._mounts:
            if text == mount or text.startswith(f"{mount}/"):
                return folder + text[len(mount) :]
        return text
