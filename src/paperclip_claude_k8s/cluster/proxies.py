"""The proxy on the way to an API server, and the errors for responses that come from the proxy itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from paperclip_claude_k8s.base.http import host_and_port
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cluster.foreign_answers import TRANSIENT
from paperclip_claude_k8s.cluster.logins import without_login
from paperclip_claude_k8s.cluster.port import PROXY_REFUSED, ClusterError

NEEDS_LOGIN = 407
LOGINS = "Proxy-Authenticate"
"""The header that names the ways to log in."""
_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Proxy:
    """`named_by`: what names the proxy, either `proxy-url` (of the kubeconfig) or an environment variable."""

    url: str = field(repr=False)
    named_by: str

    def __str__(self) -> str:
        """Without name and password."""
        return f"the proxy {host_and_port(URL(self.url))} ({self.named_by})"

    def refusal(
        self, request: object, status: int, phrase: str | None, logins: Sequence[str]
    ) -> ClusterError:
        """The error for an answer of the proxy itself, to a request that it did not pass on.

        `logins`: the values of the header Proxy-Authenticate.
        """
        text = f"{request}: {self} answered {status} {neutral((phrase or '')[:_SHOWN_CHARS])}".rstrip()
        if status in TRANSIENT:
            return ClusterError(None, "ProxyFailed", f"{text}, so the API server was not reached")
        return ClusterError(None, PROXY_REFUSED, f"{text}; {self._next_step(status, logins)}")

    def _next_step(self, status: int, logins: Sequence[str]) -> str:
        if status not in {NEEDS_LOGIN, 401}:
            return "have the proxy allow connections to the API server, or exempt the server by NO_PROXY"
        schemes = {value.strip().split(" ")[0].lower() for value in logins}
        if schemes and "basic" not in schemes:
            names = neutral(", ".join(sorted(schemes))[:_SHOWN_CHARS])
            return f"it asks for a login by {names}, but only Basic is supported: use another proxy"
        return f"put a valid name and password into {self.named_by} (http://NAME:PASSWORD@HOST:PORT)"

    @contextmanager
    def errors_translated(self, request: object) -> Iterator[None]:
        """Raise `ClusterError` instead, if the proxy cannot be reached or refuses to open a tunnel."""
        try:
            yield
        except aiohttp.ClientHttpProxyError as error:
            logins = error.headers.getall(LOGINS, []) if error.headers is not None else []
            phrase = without_login(error.message.encode("utf-8", "replace"), error.request_info).decode()
            raise self.refusal(request, error.status, phrase, logins) from None
        except aiohttp.ClientProxyConnectionError as error:
            why = error.os_error.strerror or type(error.os_error).__name__
            raise ClusterError(None, "Unreachable", f"{request}: no connection to {self}: {why}") from None
