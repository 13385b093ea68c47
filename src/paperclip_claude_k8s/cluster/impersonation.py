"""The headers by which a kubeconfig's user acts as another user, so that RBAC applies to that identity.

If the headers for `as` were left out, requests would have the rights of the kubeconfig's own user, which are
usually wider. So a field that cannot be sent makes the kubeconfig unusable.
"""

import re
from urllib.parse import quote

from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigPart

Headers = tuple[tuple[str, str], ...]

_USER, _UID, _GROUPS, _EXTRA = "as", "as-uid", "as-groups", "as-user-extra"
_VALUE = re.compile(r"[ -~]{1,1024}")
"""A header's value: printable ASCII in one line."""
_NAME_CHARS = "!#$&'*+-.^_`|~"
"""Characters besides letters and digits that a header's name may contain; others are escaped as in URLs."""
MAX_HEADERS = 200
"""Largest number of headers: servers refuse a request whose headers are larger than about 1 MiB."""


def impersonation_headers(part: KubeconfigPart) -> Headers:
    """The headers for a user's fields `as`, `as-uid`, `as-groups` and `as-user-extra`; () without these.

    Raises:
        ClusterError: a field has a wrong type or a value that no header can have.
    """
    user = part.fields
    if not any(user.get(key) for key in (_USER, _UID, _GROUPS, _EXTRA)):
        return ()
    name, uid = user.get(_USER), user.get(_UID) or ""
    groups, extra = user.get(_GROUPS) or [], user.get(_EXTRA) or {}
    if not name or not isinstance(groups, list) or not isinstance(extra, dict):
        raise part.unusable(f"needs {_USER} to be a name, {_GROUPS} a list and {_EXTRA} an object")
    headers = [("Impersonate-User", name), *(("Impersonate-Group", group) for group in groups)]
    headers += [("Impersonate-Uid", uid)] if uid else []
    for key, values in extra.items():
        if not isinstance(values, list):
            raise part.unusable(f"needs every value of {_EXTRA} to be a list")
        header = f"Impersonate-Extra-{quote(str(key).lower(), safe=_NAME_CHARS)}"
        headers += [(header, value) for value in values]
    if len(headers) > MAX_HEADERS or not all(isinstance(v, str) and _VALUE.fullmatch(v) for _, v in headers):
        raise part.unusable(f"has values of {_USER} and related fields that cannot be sent as headers")
    return tuple(headers)
