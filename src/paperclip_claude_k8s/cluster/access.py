"""Reads what is needed to reach an API server, from a Pod's service account or from a kubeconfig.

kubernetes_asyncio reads these too, but it blocks the event loop while it reads files. It also runs plugins
without limits, and sends any file of the host as a token if a kubeconfig names it as `tokenFile`. So it is
used only for `auth-provider`, by `credentials`.
"""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeAlias

import orjson
from yarl import URL

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.host_files import HostFileError, anywhere, read_host_file
from paperclip_claude_k8s.base.http import ProxyUnsupported, check_proxy
from paperclip_claude_k8s.base.json_readers import as_object, get_object, get_text
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.exec_plugin import run_plugin
from paperclip_claude_k8s.cluster.kubeconfig import (
    Kubeconfig,
    KubeconfigPart,
    KubeconfigReader,
    KubeconfigRules,
)
from paperclip_claude_k8s.cluster.port import ClusterError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_REREAD_SECONDS = 60.0
"""Seconds after which a token's file is read again. The kubelet renews a token long before it expires."""
EXPIRY_MARGIN_SECONDS = 60.0
"""A plugin's credential is renewed this long before it expires, but not sooner than this long after it was
made."""
SERVICE_ACCOUNT_FILE_BYTES = 1024 * 1024
MAX_TOKEN_CHARS = 16 * 1024
"""Servers accept headers of this size at most; tokens have up to 4 KiB."""
_TOKEN = re.compile(r"[!-~]+")
"""A token is one line of printable characters. Other text must not get into a header, nor to a server."""
_URL = re.compile(r"https?://[!-~]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f:.]+")
Authorization: TypeAlias = Callable[[], Awaitable[str | None]]
"""Returns the value of the Authorization header; None without a token, e.g. with a client certificate."""


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """The address of an API server, and how we authenticate to it."""

    server: str = field(repr=False)
    """It may contain a token or a password."""
    authorization: Authorization
    ca_text: str | None = None
    """PEM; None: the system's certificate authorities are trusted."""
    client_text: str | None = field(default=None, repr=False)
    """PEM of the client's certificate and its key."""
    verify: bool = True
    server_hostname: str | None = None
    proxy: str | None = field(default=None, repr=False)
    namespace: str | None = None
    impersonation: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Headers by which requests act as another user."""
    pod: str = ""
    """Name of the Pod that the service account's token is bound to; "" if it is bound to none."""
    renew_after: float | None = None
    """Seconds after which everything has to be read again, because a plugin's credential expires."""
    by_program: bool = False
    """Whether a program or a login made the credentials. If so, they are not read again after a TLS error."""


async def service_account_access(
    env: Mapping[str, str], timings: Timings, folder: Path = SERVICE_ACCOUNT
) -> ServerAccess:
    """Read the service account that the kubelet mounts into a Pod.

    Raises:
        LookupError: this is not a Pod, or it has no service account; the message names what is missing.
    """
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    if not (host and port):
        raise LookupError("KUBERNETES_SERVICE_HOST and _PORT are not set")

    async def read(name: str) -> str:
        path = str(folder / name)
        try:
            file = await read_host_file(path, limit=SERVICE_ACCOUNT_FILE_BYTES, seconds=timings.host_file)
        except HostFileError as error:
            raise LookupError(f"{path}: {error}") from None
        if not (text := file.content.decode("ascii", "ignore").strip()):
            raise LookupError(f"{path} is empty")
        return text

    authority = await read("ca.crt")
    token = TokenFile(partial(read, "token"))
    await token.read()
    namespace = None
    with suppress(LookupError):
        namespace = await read("namespace")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    pod = bound_pod(await token.authorization())
    return ServerAccess(server, token.authorization, ca_text=authority, namespace=namespace, pod=pod)


class TokenFile:
    """A token in a file that is renewed while we run; `read_text` returns the file's text, or raises."""

    def __init__(self, read_text: Callable[[], Awaitable[str]]) -> None:
        self._read_text = read_text
        self._header = ""
        self._read_at = 0.0

    async def read(self) -> None:
        """Raises what `read_text` raises, and `LookupError` if the file contains no token."""
        self._read_at = loop_time()  # set first, so that concurrent requests do not read the file too
        self._header = bearer(await self._read_text())

    async def authorization(self) -> str:
        if loop_time() - self._read_at >= TOKEN_REREAD_SECONDS:
            with suppress(ClusterError, LookupError):  # keep the old one; the server sends 401 if it expired
                await self.read()
        return self._header


def bound_pod(header: str) -> str:
    """Name of the Pod that a token is bound to, from its claims; "" if it is bound to none."""
    payload = header.partition(".")[2].partition(".")[0]
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return ""
    return get_text(get_object(as_object(as_object(claims).get("kubernetes.io")), "pod"), "name")


def bearer(token: object) -> str:
    """The header for a token. Raises `LookupError` for any other text, without quoting it."""
    text = token.strip() if isinstance(token, str) else ""
    if len(text) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(text):
        raise LookupError("contains something that is not a token")
    return f"Bearer {text}"


async def kubeconfig_access(
    kubeconfig: Kubeconfig, reader: KubeconfigReader, rules: KubeconfigRules, timings: Timings
) -> ServerAccess:
    """The access that a kubeconfig without `auth-provider` describes. May run its exec plugin.

    Raises:
        ClusterError: status None; the message names the kubeconfig and what is wrong.
    """
    user = kubeconfig.user
    authority = await reader.value(kubeconfig.cluster, "certificate-authority")
    access = replace(server_of(kubeconfig), ca_text=authority)
    authorization = await _authorization(user, reader, rules)
    if authorization is not None:
        access = replace(access, authorization=authorization)
    elif user.fields.get("exec"):
        access = await _with_plugin(access, kubeconfig, rules, timings)
    certificate = await reader.value(user, "client-certificate")
    if certificate and not access.client_text:
        key = await reader.value(user, "client-key")
        access = replace(access, client_text=f"{certificate}\n{key or ''}")
    return access


def server_of(kubeconfig: Kubeconfig) -> ServerAccess:
    """Address, proxy and checks of the server, without any credentials. Raises `ClusterError`."""
    cluster, fields = kubeconfig.cluster, kubeconfig.cluster.fields
    skip = fields.get("insecure-skip-tls-verify")
    if not isinstance(skip, bool | None):
        raise cluster.unusable("has an insecure-skip-tls-verify that is neither true nor false")
    server, proxy, tls_name = fields.get("server"), fields.get("proxy-url"), fields.get("tls-server-name")
    if not isinstance(server, str) or not _is_address(server):
        raise cluster.unusable("has a server whose address is not http or https")
    if proxy:
        try:
            proxy = check_proxy(str(proxy), "its proxy-url")
        except ProxyUnsupported as error:
            raise cluster.unusable(f"cannot be used: {error}") from None
    if tls_name and not (isinstance(tls_name, str) and _HOST_NAME.fullmatch(tls_name)):
        raise cluster.unusable("has a tls-server-name that is not the name of a host")
    return ServerAccess(
        server,
        _no_authorization,
        verify=not skip,
        server_hostname=tls_name or None,
        proxy=proxy or None,
        namespace=kubeconfig.namespace,
    )


def _is_address(text: object) -> bool:
    if not isinstance(text, str) or not _URL.fullmatch(text):
        return False
    try:
        url = URL(text)
        return bool(url.host) and url.port is not None and not url.query_string and not url.fragment
    except ValueError:
        return False


async def _no_authorization() -> str | None:
    return None


def fixed_authorization(header: str) -> Authorization:
    async def authorization() -> str | None:
        return header

    return authorization


async def _authorization(
    user: KubeconfigPart, reader: KubeconfigReader, rules: KubeconfigRules
) -> Authorization | None:
    """What makes the header from `tokenFile`, `token` or a password, in kubectl's order; None without these.

    If there are both a `tokenFile` and a `token`, the `token` is used only if the file cannot be read.
    """
    fields = user.fields
    try:
        if fields.get("tokenFile"):
            allows = anywhere if rules.trusted else user.contains
            file = TokenFile(partial(reader.named_file, user, "tokenFile", fields["tokenFile"], allows))
            try:
                await file.read()
            except (ClusterError, LookupError):
                if not fields.get("token"):
                    raise
            else:
                return file.authorization
        if fields.get("token"):
            return fixed_authorization(bearer(fields["token"]))
    except LookupError as error:
        raise user.unusable(f"has a user whose token or tokenFile {error}") from None
    if fields.get("username") and fields.get("password"):
        pair = f"{fields['username']}:{fields['password']}"
        return fixed_authorization(f"Basic {base64.b64encode(pair.encode('utf-8', 'replace')).decode()}")
    return None


async def _with_plugin(
    access: ServerAccess, kubeconfig: Kubeconfig, rules: KubeconfigRules, timings: Timings
) -> ServerAccess:
    credential = await run_plugin(kubeconfig, access.ca_text, rules, timings.exec_plugin)
    client = None
    if credential.certificate and credential.key:
        client = f"{credential.certificate}\n{credential.key}"
    try:
        header = fixed_authorization(bearer(credential.token)) if credential.token else _no_authorization
    except LookupError as error:
        raise kubeconfig.user.unusable(f"has an exec plugin whose token {error}") from None
    expires = credential.expires
    seconds = None if expires is None else (expires - datetime.now(UTC)).total_seconds()
    renew_after = None if seconds is None else max(seconds - EXPIRY_MARGIN_SECONDS, EXPIRY_MARGIN_SECONDS)
    return replace(access, authorization=header, client_text=client, renew_after=renew_after, by_program=True)
