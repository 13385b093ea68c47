"""Which branch names git accepts (`git help check-ref-format`); the rules for tags are the same."""

import re

_MAX_CHARS = 200
_ILLEGAL = re.compile(r"[\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]|\.\.|@\{|//")


def branch_trouble(name: str) -> str:
    """Why git would not accept this branch name, as a clause; "" if git accepts it.

    Two kinds of names are refused although git accepts them: names with more than `_MAX_CHARS` characters,
    and names that begin with `-`, because a program could take them for an option.
    """
    if not name or len(name) > _MAX_CHARS:
        return f"it must have 1 to {_MAX_CHARS} characters"
    if found := _ILLEGAL.search(name):
        return f"it contains {found[0]!r}"
    if name in {"@", "HEAD"}:
        return "git itself uses this name"
    if name.startswith(("-", "/")) or name.endswith(("/", ".")):
        return "it begins or ends with a character that git does not allow there"
    if any(part.startswith(".") or part.endswith(".lock") for part in name.split("/")):
        return "a part of it begins with . or ends with .lock"
    return ""
