"""Reads the two usual kinds of credentials: a Pod's service account, and a kubeconfig with plain values.

kubernetes_asyncio reads these too, but importing it takes 25 MB and 0.2 s. Only other kubeconfigs are read by
it (`credentials.library_access`): with a plugin, a login, a client certificate or references to files.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.json_readers import get_objects

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_REREAD_SECONDS = 60.0
"""Seconds after which a Pod's token is read again. The kubelet renews it long before it expires."""
_CLUSTER_FIELDS = {
    "server": str,
    "certificate-authority-data": str,
    "insecure-skip-tls-verify": bool,
    "tls-server-name": str,
    "proxy-url": str,
}
"""The fields of a cluster in a kubeconfig that `plain_access` can read."""
_USER_FIELDS = {"token": str}
Authorization: TypeAlias = Callable[[], Awaitable[str | None]]
"""Returns the value of the Authorization header; None without a token, e.g. with a client certificate."""


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """The address of an API server, and how we authenticate to it."""

    server: str
    authorization: Authorization
    ca_file: str | None = None
    ca_text: str | None = None
    """PEM. Without `ca_file` and `ca_text` the system's certificate authorities are trusted."""
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    server_hostname: str | None = None
    proxy: str | None = None
    namespace: str | None = None


def service_account_access(env: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> ServerAccess:
    """Read the service account that the kubelet mounts into a Pod.

    Raises:
        LookupError: this is not a Pod, or it has no service account; the message names what is missing.
        OSError: one of the files cannot be read.
    """
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    if not (host and port):
        raise LookupError("KUBERNETES_SERVICE_HOST and _PORT are not set")
    authority, namespace = folder / "ca.crt", folder / "namespace"
    if not authority.read_text(encoding="utf-8"):
        raise LookupError(f"{authority} is empty")
    token = _TokenFile(folder / "token")
    token.read()
    return ServerAccess(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        token.authorization,
        ca_file=str(authority),
        namespace=namespace.read_text(encoding="utf-8").strip() or None if namespace.is_file() else None,
    )


class _TokenFile:
    """A token in a file that the kubelet renews while we run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = 0.0

    def read(self) -> None:
        self._token = self._path.read_text(encoding="utf-8").strip()
        if not self._token:
            raise LookupError(f"{self._path} is empty")
        self._read_at = loop_time()

    async def authorization(self) -> str:
        if loop_time() - self._read_at >= TOKEN_REREAD_SECONDS:
            with suppress(OSError, LookupError):  # keep the old token; after it expires the server sends 401
                self.read()
        return f"Bearer {self._token}"


def plain_access(kubeconfig: Mapping[str, Any]) -> ServerAccess | None:
    """The access of the current context; None if its cluster or user has fields that are not read here."""
    context = _find_named(kubeconfig, "contexts", kubeconfig.get("current-context"))
    if context is None:
        return None
    cluster = _find_named(kubeconfig, "clusters", context.get("cluster"))
    user = _find_named(kubeconfig, "users", context.get("user"))
    if cluster is None or user is None or not cluster.get("server"):
        return None
    if not (_has_only(_CLUSTER_FIELDS, cluster) and _has_only(_USER_FIELDS, user)):
        return None
    try:
        authority = base64.b64decode(cluster.get("certificate-authority-data", ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    header = f"Bearer {user['token'].strip()}" if user.get("token") else None

    async def authorization() -> str | None:
        return header

    return ServerAccess(
        cluster["server"],
        authorization,
        ca_text=authority or None,
        verify=not cluster.get("insecure-skip-tls-verify", False),
        server_hostname=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
        namespace=context.get("namespace") or None,
    )


def _find_named(kubeconfig: Mapping[str, Any], plural: str, name: object) -> dict[str, Any] | None:
    """The content of the entry of that name in a list of a kubeconfig; None unless there is exactly one."""
    entries = [entry for entry in get_objects(kubeconfig, plural) if entry.get("name") == name]
    found = [entry.get(plural.removesuffix("s")) for entry in entries]
    return found[0] if len(found) == 1 and isinstance(found[0], dict) else None


def _has_only(fields: Mapping[str, type], entry: Mapping[str, Any]) -> bool:
    """Whether the entry has no keys but those of `fields`, with values of the types given there."""
    return all(key in fields and isinstance(value, fields[key]) for key, value in entry.items())
