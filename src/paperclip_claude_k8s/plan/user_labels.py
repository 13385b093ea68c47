"""Labels an operator adds: taken where they are legal and not ours."""

import re
from collections.abc import Mapping

from paperclip_claude_k8s.cluster.labels import RESERVED_PREFIXES
from paperclip_claude_k8s.plan.identity import label_value

_KEY = re.compile(
    r"^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
)


def user_labels(wanted: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split into what a Job can carry and the keys skipped: reserved, illegal, or no legal value left."""
    accepted: dict[str, str] = {}
    for key, value in wanted.items():
        legal = label_value(value)
        if legal is not None and _KEY.match(key) and not key.startswith(RESERVED_PREFIXES):
            accepted[key] = legal
    return accepted, tuple(sorted(set(wanted) - set(accepted)))
