"""Which proxy leads to the API server: the rules of Go's clients, so that we go where kubectl goes.

Python's own reading of the environment knows no networks in NO_PROXY and would send loopback addresses
through the proxy.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """The proxy of HTTPS_PROXY or HTTP_PROXY for this address, unless NO_PROXY or loopback exempts it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"{parts.scheme}_proxy"
    proxy = env.get(name.upper()) or env.get(name)
    if not proxy or _is_loopback(host):
        return None
    exempt = env.get("NO_PROXY") or env.get("no_proxy") or ""
    if any(_covers(entry.strip().lower(), host, parts.port) for entry in exempt.split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Whether one entry of NO_PROXY, a name, an address, a network or `*`, exempts this host."""
    if entry in {"", "*"}:
        return entry == "*"
    address = _address(host)
    if address is not None and "/" in entry:
        return _in_network(address, entry)
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdigit() and "]" not in wanted_port and _address(entry) is None:
        entry = name
        if wanted_port != str(port):
            return False
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    suffix = entry.removeprefix("*")
    return host.endswith(suffix) if suffix.startswith(".") else host == suffix or host.endswith(f".{suffix}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
