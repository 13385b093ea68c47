"""Address, certificates and token of the API server.

They are read on first use, and again after a 401, after TLS failed, and before a plugin's credential expires.
"""

import asyncio
import os
import ssl
from contextlib import suppress
from dataclasses import replace
from typing import Any

import aiohttp

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.http import ProxyUnsupported, proxy_for
from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.settings import LIMITS, Limits, Timings
from paperclip_claude_k8s.cluster.access import (
    ServerAccess,
    bearer,
    fixed_authorization,
    kubeconfig_access,
    server_of,
    service_account_access,
)
from paperclip_claude_k8s.cluster.impersonation import impersonation_headers
from paperclip_claude_k8s.cluster.kubeconfig import (
    NO_PROGRAMS,
    Kubeconfig,
    KubeconfigReader,
    KubeconfigRules,
    unusable,
)
from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError
from paperclip_claude_k8s.cluster.proxies import Proxy

TIMINGS = Timings()
_KUBECONFIG_SOURCES = (
    "a command uses --kubeconfig, else KUBECONFIG, else ~/.kube/config, and a host only its setting"
)
LOGIN_ERRORS = (
    *(ValueError, LookupError, TypeError, AttributeError, AssertionError, ImportError, OSError),
    *(ArithmeticError, RecursionError, aiohttp.ClientError),
)
"""What kubernetes_asyncio raises if a login fails: bad base64, missing keys, failed asserts, no network."""


class Credentials:
    """Server, certificates and token of a kubeconfig; without a kubeconfig, of the Pod's service account.

    `version` counts how often these were read. While it is 0, `server`, `proxy` and `tls` are not set.
    """

    def __init__(
        self,
        kubeconfig: str | None,
        rules: KubeconfigRules = NO_PROGRAMS,
        limits: Limits = LIMITS,
        timings: Timings = TIMINGS,
        *,
        context: str | None = None,
    ) -> None:
        self._kubeconfig = kubeconfig
        self.context = context
        """The context in use. When the kubeconfig is read again, this context is kept, even if its current
        context has changed."""
        self._rules = rules
        self._timings = timings
        self._reader = KubeconfigReader(rules, limits, timings)
        self._access: ServerAccess | None = None
        self._renew_at: float | None = None
        self._reading = asyncio.Lock()
        self.version = 0
        self.namespace: str | None = None
        self.pod = ""
        self.server = ""
        self.server_hostname: str | None = None
        self.proxy: Proxy | None = None
        self.tls: ssl.SSLContext | None = None

    async def load(self) -> None:
        """Read everything if it has not been read yet.

        Raises:
            ClusterError: status None, reason "Kubeconfig" or "PolicyRefused"; the message names the cause and
                the kubeconfig, if there is one.
        """
        if self.version == 0:
            await self.renew(0)

    async def address(self) -> str:
        """Read the server's URL again. No credentials are read, so no plugin runs. Raises `ClusterError`."""
        if self._kubeconfig is not None:
            return server_of(await self._read_kubeconfig(self._kubeconfig)).server.rstrip("/")
        return (await self._service_account()).server

    async def _read_kubeconfig(self, paths: str) -> Kubeconfig:
        kubeconfig = await self._reader.read(paths, self.context)
        self.context = kubeconfig.context
        return kubeconfig

    async def reread_files(self, stale: int) -> bool:
        """Read everything again after a TLS error; return whether certificates have changed in the files.

        `stale`: the `version` that the failed request used. Credentials that a program made are kept: the
        program would otherwise run at each attempt to connect.
        """
        if self._access is None or self._access.by_program:
            return False
        before = self.tls
        with suppress(ClusterError):  # a file that is being written may be incomplete
            await self.renew(stale)
        return self.tls is not before

    async def renew(self, stale: int) -> None:
        """Read everything again, unless another task has done so since `version` was `stale`."""
        async with self._reading:
            if self.version == stale:
                self._apply(await self._read())
                self.version += 1

    async def headers(self) -> list[tuple[str, str]]:
        """The headers that authenticate a request, and those of `impersonation_headers`. A name may repeat.

        A credential that expires soon is renewed first; if that fails, the old one is used.
        """
        now = loop_time()
        if self._renew_at is not None and now >= self._renew_at:
            self._renew_at = None
            with suppress(ClusterError):  # once the old credential has expired, the server sends 401
                await self.renew(self.version)
        if self._access is None:
            return []
        header = await self._access.authorization()
        return [*([("Authorization", header)] if header else []), *self._access.impersonation]

    async def _read(self) -> ServerAccess:
        if self._kubeconfig is None:
            return await self._service_account()
        kubeconfig = await self._read_kubeconfig(self._kubeconfig)
        headers = impersonation_headers(kubeconfig.user)
        if kubeconfig.user.fields.get("auth-provider"):
            access = await _oidc_access(kubeconfig, self._reader, self._rules)
        else:
            access = await kubeconfig_access(kubeconfig, self._reader, self._rules, self._timings)
        return replace(access, impersonation=headers)

    async def _service_account(self) -> ServerAccess:
        try:
            return await service_account_access(os.environ, self._timings)
        except LookupError as error:
            what = f"no kubeconfig is set and this is not a Pod ({error}); {_KUBECONFIG_SOURCES}"
            raise unusable(what) from None

    def _apply(self, access: ServerAccess) -> None:
        before, server = self._access, access.server.rstrip("/")
        proxy = _proxy_of_environment(server) if access.proxy is None else Proxy(access.proxy, "proxy-url")
        uses_tls = any(url.startswith("https") for url in (server, proxy.url if proxy else ""))
        # a new TLS context is made only if its inputs changed: with it, open connections cannot be reused
        if before is None or (uses_tls and self.tls is None) or _tls_inputs(before) != _tls_inputs(access):
            try:
                self.tls = _tls_context(access) if uses_tls else None
            except (OSError, ValueError, TypeError) as error:
                raise unusable(
                    f"{self._source} has a certificate or key that is not valid: {error}"
                ) from None
        self.server = server
        self.server_hostname = access.server_hostname
        self.proxy = proxy
        self.namespace = access.namespace
        self.pod = access.pod
        self._access = access
        after = access.renew_after
        self._renew_at = None if after is None else loop_time() + after

    @property
    def _source(self) -> str:
        return "the Pod's service account" if self._kubeconfig is None else f"kubeconfig {self._kubeconfig}"


def _proxy_of_environment(server: str) -> Proxy | None:
    try:
        proxy = proxy_for(server, os.environ)
    except ProxyUnsupported as error:
        text = f"the API server cannot be reached: {error}, or exempt the server by NO_PROXY"
        raise ClusterError(None, UNUSABLE_CREDENTIALS, text) from None
    named_by = "HTTPS_PROXY" if server.startswith("https") else "HTTP_PROXY"
    return None if proxy is None else Proxy(proxy, named_by)


async def _oidc_access(
    kubeconfig: Kubeconfig, reader: KubeconfigReader, rules: KubeconfigRules
) -> ServerAccess:
    """The access with a token of an OpenID Connect provider; kubernetes_asyncio renews the token.

    The kubeconfig is never written, so a provider that replaces refresh tokens works only by an exec plugin.
    """
    user = kubeconfig.user
    provider = get_object(user.fields, "auth-provider")
    if get_text(provider, "name") != "oidc":
        raise user.unusable("has an auth-provider other than oidc, the only one that is supported")
    if not rules.may_run("oidc"):
        raise user.refused("logs in with the auth-provider 'oidc'", "execPlugins")
    access = server_of(kubeconfig)
    authority = await reader.value(kubeconfig.cluster, "certificate-authority")
    try:
        token = await _oidc_token({"name": "oidc", "config": get_object(provider, "config")})
        header = fixed_authorization(bearer(token))
    except LOGIN_ERRORS as error:
        raise user.unusable(f"cannot be used: its login failed ({type(error).__name__})") from None
    return replace(access, ca_text=authority, authorization=header, by_program=True)


async def _oidc_token(provider: dict[str, object]) -> str:
    """The token of an OpenID Connect provider. kubernetes_asyncio gets nothing else of the kubeconfig."""
    from kubernetes_asyncio import client, config  # noqa: PLC0415  # takes 0.2 s and 25 MB

    configuration: Any = client.Configuration()
    kubeconfig = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        "clusters": [{"name": "here", "cluster": {"namespace": "here"}}],
        "users": [{"name": "here", "user": {"auth-provider": provider}}],
    }
    try:
        await config.load_kube_config_from_dict(kubeconfig, client_configuration=configuration)
    except config.ConfigException as error:
        raise LookupError(str(error)) from None
    return str(configuration.api_key["BearerToken"]).removeprefix("Bearer ")


def _tls_inputs(access: ServerAccess) -> tuple[object, ...]:
    return access.server.startswith("https"), access.ca_text, access.client_text, access.verify


def _tls_context(access: ServerAccess) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca_text)
    if access.client_text:
        _load_client(context, access.client_text)
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # without OpenSSL's strict checks (RFC 5280), which many certificates from before 2020 do not pass
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _load_client(context: ssl.SSLContext, pem: str) -> None:
    """Load certificate and key by a file in memory: OpenSSL needs a path. Never asks for a password."""
    descriptor = os.memfd_create("client")
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem.encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
