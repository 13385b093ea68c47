"""Checks names of Kubernetes objects in options, before anything is printed or sent."""

import re
from collections.abc import Mapping

from paperclip_claude_k8s.cli.options import OptionsInvalid
from paperclip_claude_k8s.host.quantity import parse_bytes

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123 label, as for namespaces."""
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""RFC 1123 subdomain, as for most objects."""
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,1023}")
_MAX_SUBDOMAIN = 253
_WANTED = "lowercase letters, digits and `-`, with a letter or digit at both ends"


def check_namespace(option: str, name: str | None) -> None:
    """Raises `OptionsInvalid` if the API server would refuse the namespace. None is not checked."""
    if name is not None and not _LABEL.fullmatch(name):
        raise OptionsInvalid(f"{option} {name!r} is no namespace: expected up to 63 {_WANTED}")


def check_names(given: Mapping[str, str | None]) -> None:
    """Check names of other objects. `given`: option → name; None and "" are not checked.

    Raises:
        OptionsInvalid: a name that the API server would refuse.
    """
    for option, name in given.items():
        if name and (len(name) > _MAX_SUBDOMAIN or not _SUBDOMAIN.fullmatch(name)):
            raise OptionsInvalid(
                f"{option} {name!r} is no name of an object: expected up to {_MAX_SUBDOMAIN} {_WANTED}; "
                "dots separate such parts"
            )


def check_account(option: str, text: str) -> None:
    """Check NAME or NAMESPACE:NAME. Raises `OptionsInvalid`."""
    namespace, colon, name = text.rpartition(":")
    if ":" in namespace or not name:
        raise OptionsInvalid(f"{option} {text!r}: expected NAME, or NAMESPACE:NAME")
    if colon:
        check_namespace(option, namespace)
    check_names({option: name})


def check_size(option: str, text: str) -> None:
    """Check a size such as 10Gi. Raises `OptionsInvalid`."""
    try:
        size = parse_bytes(text)
    except ValueError:
        size = 0
    if size <= 0:
        raise OptionsInvalid(f"{option} {text!r}: expected a size such as 10Gi")


def is_image(text: str) -> bool:
    """Whether the text has the form of an image name."""
    return bool(_IMAGE.fullmatch(text))
