"""The one policy of all outgoing HTTP: proxies, certificate authorities, cookies, time limits.

Each caller opens a session with `open_session` and chooses the proxy with `proxy_for`:

- Proxies: HTTPS_PROXY, HTTP_PROXY and NO_PROXY are read by the rules of Go's clients, so that requests take
  the same route as kubectl's. Loopback addresses never go through a proxy. (aiohttp's `trust_env` ignores
  networks in NO_PROXY, sends loopback addresses through the proxy, and reads passwords from ~/.netrc.)
  ALL_PROXY is not read, as in Go. SOCKS proxies are refused.
- Certificate authorities: those of the system, or of SSL_CERT_FILE and SSL_CERT_DIR. Only an API server has
  its own, from the kubeconfig or the service account.
- No compression: a short response could otherwise become very long in memory.
- No cookies. Callers pass `allow_redirects=False`: a redirect could carry a credential to another server.
"""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

USER_AGENT = "paperclip-adapter-claude-k8s"
_PRINTABLE = re.compile(r"[!-~]+")
READ_BUFFER_BYTES = 256 * 1024
"""Log responses come in large pieces; a buffer of 64 KiB would double the number of reads."""


def open_session(proxy: str | None = None, *, total: float | None = None) -> aiohttp.ClientSession:
    """Open a session for the running event loop; the caller closes it.

    A request may override `proxy` and `total` (seconds for the whole request, None for no limit).
    The number of connections is not limited, since each followed log holds one.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        auto_decompress=False,
        proxy=proxy,
        read_bufsize=READ_BUFFER_BYTES,
        timeout=aiohttp.ClientTimeout(total=total),
    )


class ProxyUnsupported(ValueError):
    """A proxy is set that cannot be used. The text says why and what can be done, without credentials."""


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """Return the proxy for a URL, from HTTPS_PROXY or HTTP_PROXY of `env`.

    None if no proxy is set, or NO_PROXY exempts the URL's host, or that host is a loopback address.

    Raises:
        ProxyUnsupported: the variable names a SOCKS proxy, or is not the address of a proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"{parts.scheme}_proxy"
    proxy = env.get(name.upper()) or env.get(name)
    if not proxy or _is_loopback_in_go(host):
        return None
    exempt = env.get("NO_PROXY") or env.get("no_proxy") or ""
    if any(_covers(entry.strip().lower(), host, parts.port) for entry in exempt.split(",")):
        return None
    return check_proxy(proxy if "://" in proxy else f"http://{proxy}", name.upper())


def check_proxy(proxy: str, named_by: str) -> str:
    """Return the address of an http or https proxy. `named_by`: the variable or setting that names it.

    Raises:
        ProxyUnsupported: it is a SOCKS proxy, or not the address of a proxy.
    """
    scheme = proxy.partition("://")[0].lower()
    if scheme.startswith("socks"):
        raise ProxyUnsupported(
            f"{named_by} names a SOCKS proxy, and only http and https proxies are supported; name an HTTP "
            "proxy, or forward a local port to the server (`ssh -L`) and use that address"
        )
    try:
        url = URL(proxy)
        usable = scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable or not _PRINTABLE.fullmatch(proxy):
        raise ProxyUnsupported(
            f"{named_by} is not the address of an http or https proxy, such as http://10.0.0.1:3128; special "
            "characters in a name or password must be percent-encoded"
        )
    return proxy


async def read_beginning(content: aiohttp.StreamReader, limit: int) -> bytes:
    """The body of a response, or the first `limit` + 1 bytes of a longer one."""
    body = bytearray()
    while len(body) <= limit and (block := await content.read(limit + 1 - len(body))):
        body += block
    return bytes(body)


def host_and_port(url: URL) -> str:
    """`HOST:PORT` of a URL, without its credentials; an IPv6 address in brackets."""
    return f"{url.host_subcomponent}:{url.port}"


def _is_loopback_in_go(host: str) -> bool:
    """Whether Go's clients treat the host as loopback: only `localhost` and addresses such as 127.0.0.1."""
    address = _parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Whether one entry of NO_PROXY (a name, an address, a network or `*`) exempts this host and port."""
    if entry in {"", "*"}:
        return entry == "*"
    address = _parse_address(host)
    if address is not None and "/" in entry:
        return _in_network(address, entry)
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdigit() and _parse_address(entry) is None:
        entry = name
        if wanted_port != str(port):
            return False
    entry = entry.strip("[]")
    if address is not None:
        return _parse_address(entry) == address
    suffix = entry.removeprefix("*")
    return host.endswith(suffix) if suffix.startswith(".") else host == suffix or host.endswith(f".{suffix}")


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
