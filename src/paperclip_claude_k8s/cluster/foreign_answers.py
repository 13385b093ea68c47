"""Recognises answers that no API server gave: redirects and web pages.

The error says which of the two it was, and names the address that the answer points to, without credentials
and query. Before a run has a Job, requests are not repeated after such an answer: a login page does not go
away within a minute. (`Retrier` explains why they are repeated once there is a Job.)
"""

import re

from yarl import URL

from paperclip_claude_k8s.base.http import host_and_port
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cluster.port import NOT_KUBERNETES, ClusterError

REDIRECTS = range(300, 400)
TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses of failures that may be short. A page with one of them is an ordinary error, not a foreign answer:
gateways send such pages while the API server restarts."""
_SEARCHED_BYTES = 16 * 1024
"""How much of a page is searched for its title and for the address that it points to."""
_SHOWN_CHARS = 200
_PAGE = re.compile(rb"\s*(?:<!--[^>]{0,500}-->\s*)?<(?:!doctype html|html|head)\b", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,500})", re.IGNORECASE)
_TARGETS = (
    re.compile(r"<meta[^>]{0,300}?\burl\s{0,9}=\s{0,9}[\"']?([^\"'\s>]{1,2000})", re.IGNORECASE),
    re.compile(r"<form[^>]{0,300}?\baction\s{0,9}=\s{0,9}[\"']?([^\"'\s>]{1,2000})", re.IGNORECASE),
    re.compile(r"\blocation(?:\.href)?\s{0,9}=\s{0,9}[\"']([^\"'\s]{1,2000})", re.IGNORECASE),
)
"""Where a page sends the reader: by a refresh, a form, or a script."""


def is_page(content_type: str, body: bytes) -> bool:
    """Whether an answer is a web page: no answer of an API server is one."""
    return content_type in {"text/html", "application/xhtml+xml"} or _PAGE.match(body) is not None


def redirect_error(request: str, url: URL, status: int, location: str | None) -> ClusterError:
    """The error for a redirect, which is not followed: it could carry credentials to another server."""
    where = f" to {shown_address(url, location)}" if location else ""
    text = f"{request}: {host_and_port(url)} answered with a redirect (HTTP {status}){where}"
    return ClusterError(status, NOT_KUBERNETES, f"{text}; {_NEXT_STEP}")


def web_page_error(request: str, url: URL, status: int, body: bytes, *, confidential: bool) -> ClusterError:
    """The error for a web page. `confidential`: the page may contain what was sent, so it is not quoted."""
    text = "" if confidential else body[:_SEARCHED_BYTES].decode("utf-8", "replace")
    title, targets = _TITLE.search(text), [pattern.search(text) for pattern in _TARGETS]
    named = f" titled {_shown(title[1])!r}" if title and title[1].strip() else ""
    target = next((found[1] for found in targets if found), None)
    points = f" that points to {shown_address(url, target)}" if target else ""
    what = f"{request}: {host_and_port(url)} answered with a web page{named}{points} (HTTP {status})"
    return ClusterError(None, NOT_KUBERNETES, f"{what}, not as an API server does; {_NEXT_STEP}")


_NEXT_STEP = (
    "something on the way, such as a login page, takes the place of the API server: check `server` of the "
    "kubeconfig, or log in to what is in front of it"
)


def shown_address(base: URL, target: str) -> str:
    """An address to which an answer points, without credentials, query and fragment."""
    try:
        url = base.join(URL(neutral(target)))
        if url.scheme not in {"http", "https"} or not url.host:
            return "an address that is not http or https"
        return _shown(str(url.with_user(None).with_query(None).with_fragment(None)))
    except (ValueError, TypeError):
        return "an address that is not valid"


def _shown(text: str) -> str:
    text = " ".join(neutral(text).split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
