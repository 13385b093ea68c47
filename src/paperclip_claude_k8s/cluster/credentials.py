"""Address, certificates and token of the API server, loaded on first use and again after a 401.

Simple sources are read by `access`; everything else by kubernetes_asyncio, which is imported only then.
"""

import asyncio
import inspect
import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from paperclip_claude_k8s.base.http import proxy_for
from paperclip_claude_k8s.base.json_readers import get_object, get_objects
from paperclip_claude_k8s.cluster.access import (
    Authorization,
    ServerAccess,
    plain_access,
    service_account_access,
)
from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError

LOADER_ERRORS = (ValueError, LookupError, TypeError, AttributeError, AssertionError, ImportError, OSError)
"""Raised by kubernetes_asyncio besides ConfigException: bad base64, missing keys or files, failed asserts."""


class Credentials:
    """Server, certificates and token of a kubeconfig; without a kubeconfig, of the Pod's service account.

    `version` counts how often they were read. While it is 0, `server`, `proxy` and `tls` are not set.
    """

    def __init__(self, kubeconfig: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._authorization: Authorization | None = None
        self._reading = asyncio.Lock()
        self.version = 0
        self.namespace: str | None = None
        self.server = ""
        self.server_hostname: str | None = None
        self.proxy: str | None = None
        self.tls: ssl.SSLContext | None = None

    async def load(self) -> None:
        """Read everything if it has not been read yet.

        Raises:
            ClusterError: status None, reason "Kubeconfig"; the message names the cause and any kubeconfig.
        """
        if self.version == 0:
            await self.renew(0)

    async def renew(self, stale: int) -> None:
        """Read everything again, unless another task has done so since `version` was `stale`."""
        async with self._reading:
            if self.version == stale:
                self._apply(await self._read())
                self.version += 1

    async def headers(self) -> dict[str, str]:
        """The Authorization header. A service account's token file is read at most once a minute."""
        bearer = await self._authorization() if self._authorization is not None else None
        return {"Authorization": bearer} if bearer else {}

    async def _read(self) -> ServerAccess:
        if self._kubeconfig is None:
            try:
                return service_account_access(os.environ)
            except (LookupError, OSError, ValueError) as error:
                raise _unusable(f"no kubeconfig is set and this is not a Pod ({error})") from None
        parsed = _parse_kubeconfig(self._kubeconfig)
        return plain_access(parsed) or await library_access(self._kubeconfig, _context_namespace(parsed))

    def _apply(self, access: ServerAccess) -> None:
        server = access.server.rstrip("/")
        if not server.startswith(("http://", "https://")):
            raise _unusable(f"{self._source} has a server whose address is not http or https")
        try:
            self.tls = _tls_context(access) if server.startswith("https") else None
        except (OSError, ValueError) as error:
            raise _unusable(f"{self._source} has a certificate or key that is not valid: {error}") from None
        self.server = server
        self.server_hostname = access.server_hostname
        self.proxy = access.proxy or proxy_for(server, os.environ)
        self.namespace = access.namespace
        self._authorization = access.authorization

    @property
    def _source(self) -> str:
        return "the Pod's service account" if self._kubeconfig is None else f"kubeconfig {self._kubeconfig}"


async def library_access(kubeconfig: str, namespace: str | None) -> ServerAccess:
    """The access of a kubeconfig, read by kubernetes_asyncio, which supports plugins, logins and files."""
    from kubernetes_asyncio import client, config  # noqa: PLC0415  # takes 0.2 s and 25 MB

    configuration: Any = client.Configuration()
    try:
        await config.load_kube_config(kubeconfig, client_configuration=configuration)
    except (config.ConfigException, aiohttp.ClientError, *LOADER_ERRORS) as error:
        raise _unusable(f"kubeconfig {kubeconfig} cannot be used: {_message_start(error)}") from None

    async def authorization() -> str | None:
        if configuration.refresh_api_key_hook is not None:
            refreshed = configuration.refresh_api_key_hook(configuration)
            if inspect.isawaitable(refreshed):
                await refreshed
        bearer = configuration.api_key.get("BearerToken") or configuration.api_key.get("authorization")
        return str(bearer).strip() if bearer else None

    return ServerAccess(
        str(configuration.host),
        authorization,
        ca_file=configuration.ssl_ca_cert,
        cert_file=configuration.cert_file,
        key_file=configuration.key_file,
        verify=configuration.verify_ssl,
        server_hostname=getattr(configuration, "tls_server_name", None),
        proxy=getattr(configuration, "proxy", None),
        namespace=namespace,
    )


def _tls_context(access: ServerAccess) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=access.ca_file, cadata=access.ca_text)
    if access.cert_file:
        context.load_cert_chain(access.cert_file, keyfile=access.key_file)
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # certificates from before 2020 often fail OpenSSL's strict reading of RFC 5280
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _unusable(why: str) -> ClusterError:
    return ClusterError(None, UNUSABLE_CREDENTIALS, f"{why}; set `kubeconfig` to a file that kubectl can use")


def _message_start(error: Exception) -> str:
    """The library's message, cut before the part of the kubeconfig that it quotes: it may contain a token."""
    return str(error).partition("{")[0].rstrip() or type(error).__name__


def _parse_kubeconfig(path: str) -> dict[str, Any]:
    """The kubeconfig as a mapping. Raises `ClusterError`, which names the file."""
    if os.pathsep in path:
        raise _unusable(f"kubeconfig {path} names several files; only one is supported")
    try:
        loaded = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _unusable(f"kubeconfig {path} does not exist") from None
    except OSError as error:
        raise _unusable(f"kubeconfig {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _unusable(f"kubeconfig {path} is not YAML") from None
    except (RuntimeError, ValueError) as error:
        raise _unusable(f"kubeconfig {path!r} is not a path: {error}") from None
    if not isinstance(loaded, dict) or not loaded.get("clusters"):
        raise _unusable(f"kubeconfig {path} has no clusters")
    if not loaded.get("current-context"):
        raise _unusable(f"kubeconfig {path} has no current-context")
    return loaded


def _context_namespace(kubeconfig: dict[str, Any]) -> str | None:
    for entry in get_objects(kubeconfig, "contexts"):
        if entry.get("name") == kubeconfig["current-context"]:
            namespace = get_object(entry, "context").get("namespace")
            return str(namespace) if namespace else None
    return None
