"""The host's API address as a Pod can reach it.

A host without a configured address announces its own loopback address, which from inside a Pod is the Pod
itself. So an address that is not loopback is preferred, wherever it is found, and the host's other addresses
are moved to it: with the API at `https://pc.example`, `http://127.0.0.1:3100/api/mcp` becomes
`https://pc.example/api/mcp`.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

API_URL = "PAPERCLIP_API_URL"

_FALLBACK_URL = "PAPERCLIP_RUNTIME_API_URL"
_DEFAULT_PORT = "3100"
_ANY_HOST = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104  # recognized, not bound
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


def choose_api_url(process_env: Mapping[str, str], home: Mapping[str, str], configured: str = "") -> str:
    """The first address that is not loopback, else the first address; never "".

    The order is: PAPERCLIP_API_URL of this process and of the home pod, then their PAPERCLIP_RUNTIME_API_URL,
    then the config's; without any of these, the address on which the host listens.
    """
    own, inherited = process_env.get(API_URL, ""), home.get(API_URL, "")
    others = (process_env.get(_FALLBACK_URL, ""), home.get(_FALLBACK_URL, ""), configured)
    given = [url.strip() for url in (own, inherited, *others) if url.strip()]
    candidates = given or [_listen_url(process_env)]
    return next((url for url in candidates if not is_loopback(url)), candidates[0])


def is_loopback(url: str) -> bool:
    """Whether the address names the machine on which it is used, so that inside a Pod it names the Pod."""
    parts = _split(url)
    host = (parts.hostname or "") if parts else ""
    if host in _ANY_HOST or host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def rebase(url: str, api_url: str) -> str:
    """A loopback URL, or a path, moved to the host's API address; any other URL unchanged."""
    if url.startswith("/"):
        return api_url.rstrip("/") + url
    parts, base = _split(url), _split(api_url)
    if parts is None or base is None or not is_loopback(url) or is_loopback(api_url):
        return url
    return urlunsplit(parts._replace(scheme=base.scheme, netloc=base.netloc))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.scheme and parts.hostname else None


def _listen_url(env: Mapping[str, str]) -> str:
    host = _first(env, ("PAPERCLIP_LISTEN_HOST", "HOST"), "localhost")
    port = _first(env, ("PAPERCLIP_LISTEN_PORT", "PORT"), _DEFAULT_PORT)
    if host in _ANY_HOST:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"http://{host}:{port}"


def _first(env: Mapping[str, str], names: Iterable[str], default: str) -> str:
    return next((text for name in names if (text := env.get(name, "").strip())), default)
