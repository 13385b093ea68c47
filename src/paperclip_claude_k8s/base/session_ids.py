"""Which texts can be the id of a session. The id becomes an argument of Claude Code's CLI in the next run."""

import re

from paperclip_claude_k8s.base.settings import LIMITS

_SESSION_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{LIMITS.id_chars - 1}}}")
"""It does not begin with `-`: the CLI would take such an id for an option."""


def as_session_id(value: object) -> str | None:
    """The value, if it is a text that can be the id of a session; else None."""
    return value if isinstance(value, str) and _SESSION_ID.fullmatch(value) else None
