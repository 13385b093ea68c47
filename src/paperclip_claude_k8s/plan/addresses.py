"""The host's API address as a Pod can reach it.

A host without a configured address announces a loopback address, which inside a Pod means the Pod itself.
So any other address is preferred, wherever it is configured. URLs of the host with a loopback address are
moved to the preferred one: `http://127.0.0.1:3100/api/mcp` becomes `https://pc.example/api/mcp`.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

API_URL = "PAPERCLIP_API_URL"

_RUNTIME_API_URL = "PAPERCLIP_RUNTIME_API_URL"
_DEFAULT_PORT = "3100"
_WILDCARD_HOSTS = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104  # recognized, not bound
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


def choose_api_url(
    process_env: Mapping[str, str], home_pod_env: Mapping[str, str], configured_url: str = ""
) -> str:
    """The first address that does not name the host's own machine, else the first address; never "".

    The order is: PAPERCLIP_API_URL of this process and of the home pod, then PAPERCLIP_RUNTIME_API_URL of
    both, then the address in the config. If none is set, the result is the address on which the host listens.
    """
    named = (env.get(name, "") for name in (API_URL, _RUNTIME_API_URL) for env in (process_env, home_pod_env))
    given = [url.strip() for url in (*named, configured_url) if url.strip()]
    candidates = given or [_listen_url(process_env)]
    return next((url for url in candidates if not names_own_machine(url)), candidates[0])


def names_own_machine(url: str) -> bool:
    """Whether the URL reaches the machine on which it is used, so that inside a Pod it reaches the Pod.

    Besides loopback addresses these are wildcard addresses and names below `.localhost`. (The rule for
    proxies in `base/http.py` is narrower, like that of Go's clients.)
    """
    parts = _split(url)
    host = (parts.hostname or "") if parts else ""
    if host in _WILDCARD_HOSTS or host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def rebase(url: str, api_url: str) -> str:
    """A path, or a URL of the host's own machine, moved to the API address; any other URL unchanged.

    If the API address is itself one of the host's own machine, URLs of that machine stay unchanged too.
    """
    if url.startswith("/"):
        return api_url.rstrip("/") + url
    parts, base = _split(url), _split(api_url)
    if parts is None or base is None or not names_own_machine(url) or names_own_machine(api_url):
        return url
    return urlunsplit(parts._replace(scheme=base.scheme, netloc=base.netloc))


def _split(url: str) -> SplitResult | None:
    """The parts of an absolute URL with a host; None for any other text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.scheme and parts.hostname else None


def _listen_url(env: Mapping[str, str]) -> str:
    """The address on which a host process with this environment listens."""
    host = _first_set(env, ("PAPERCLIP_LISTEN_HOST", "HOST"), "localhost")
    port = _first_set(env, ("PAPERCLIP_LISTEN_PORT", "PORT"), _DEFAULT_PORT)
    if host in _WILDCARD_HOSTS:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"http://{host}:{port}"


def _first_set(env: Mapping[str, str], names: Iterable[str], default: str) -> str:
    return next((text for name in names if (text := env.get(name, "").strip())), default)
