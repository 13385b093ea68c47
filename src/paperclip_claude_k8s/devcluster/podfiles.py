"""A Pod's view of the world on a machine that has none: volumes as folders, paths rewritten.

Mount paths do not exist here, so each Pod has a root folder with its mounts below it, and every such path at
the start of an env value, an argument or the working directory is rewritten to the folder.
"""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Object = dict[str, Any]
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
TERMINATION_LOG = "/dev/termination-log"


class Missing(Exception):
    """A Secret or key that is not there yet; the kubelet waits for it. `reason` as the kubelet names it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` → its value where it has one, `$$` → `$`, as Kubernetes expands commands and env."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)


def secret_value(secret: Object | None, ref: Object, owner: str) -> str | None:
    """The value a secretKeyRef names; None when it is optional and absent."""
    name, key = ref.get("name", ""), ref.get("key", "")
    value = (secret or {}).get("data", {}).get(key)
    if value is not None:
        return base64.b64decode(value).decode("utf-8", "surrogateescape")
    if ref.get("optional"):
        return None
    if secret is None:
        raise Missing("CreateContainerConfigError", f'secret "{name}" not found')
    raise Missing("CreateContainerConfigError", f"couldn't find key {key} in Secret {owner}/{name}")


def write_secret(folder: Path, volume: Object, secret: Object | None) -> None:
    """The files of a secret volume."""
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
        path = folder / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data[item["key"]]))
        path.chmod(item.get("mode") or volume.get("defaultMode") or 0o644)


class Paths:
    """Mount path → local folder, longest first."""

    def __init__(self) -> None:
        self._mounts: list[tuple[str, str]] = []

    def add(self, mount_path: str, folder: Path) -> None:
        mount = mount_path.rstrip("/")
        self._mounts = [pair for pair in self._mounts if pair[0] != mount]  # the next container has its own
        self._mounts.append((mount, str(folder)))
        self._mounts.sort(key=lambda pair: -len(pair[0]))

    def local(self, text: str) -> str:
        """The text with a mount path at its start rewritten; any other text as it is."""
        for mount, folder in self._mounts:
            if text == mount or text.startswith(f"{mount}/"):
                return folder + text[len(mount) :]
        return text
