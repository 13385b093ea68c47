"""Patterns as in `.gitignore`, and whether they match a path.

Named classes such as `[[:alpha:]]` are not supported.

Agents write such files, so the time for a comparison has a bound: the length of the pattern times that of the
name. A regular expression made from a pattern could take exponentially longer.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MAX_LINE_CHARS = 1000
"""Longer lines are skipped, which limits the time of a comparison. A name has at most 255 characters and a
path 4,096, but real patterns are far shorter."""
_DOUBLE_STAR = "**"
_PARTS_OF_NAME_PATTERN = 2
"""Number of parts of a pattern that matches a name in any folder: `**` and the name. Most patterns have this
form, so they are compared in a faster way."""
_WILDCARD = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """The pattern of one line of a `.gitignore`."""

    parts: tuple[str, ...]
    """Patterns of names; `**` stands for any number of folders."""
    negated: bool = False
    only_folders: bool = False

    def matches(self, path: Sequence[str], *, is_folder: bool) -> bool:
        """Whether the pattern matches a path, which is relative to the folder of the pattern's file."""
        if self.only_folders and not is_folder:
            return False
        if len(self.parts) == _PARTS_OF_NAME_PATTERN and self.parts[0] == _DOUBLE_STAR:
            return matches_name(self.parts[1], path[-1])
        return _matches_parts(self.parts, path)


def read_patterns(text: str) -> tuple[IgnorePattern, ...]:
    """The patterns of a file, in the order of its lines."""
    lines = (line for line in text.split("\n") if len(line) <= MAX_LINE_CHARS)
    return tuple(pattern for pattern in map(_read_line, lines) if pattern is not None)


def is_ignored(
    path: Sequence[str],
    rules: Iterable[tuple[int, IgnorePattern]],
    *,
    is_folder: bool,
    check: Callable[[], None] = lambda: None,
) -> bool:
    """Whether a path is ignored: of the rules that match it, the last one decides.

    `rules`: each has a pattern, and the depth of the folder with the pattern's file.
    `check` is called before each rule, and may raise.
    """
    ignored = False
    for depth, pattern in rules:
        check()
        # a pattern that would not change the result need not be compared
        if pattern.negated == ignored and pattern.matches(path[depth:], is_folder=is_folder):
            ignored = not pattern.negated
    return ignored


def _read_line(line: str) -> IgnorePattern | None:
    line = line.removesuffix("\r")
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line[1:] if negated else line
    only_folders = line.endswith("/")
    line = line[:-1] if only_folders else line
    anchored = "/" in line
    parts = tuple(line.removeprefix("/").split("/"))
    if not line.strip("/") or not all(parts):
        return None
    if not anchored:
        parts = (_DOUBLE_STAR, *parts)
    return IgnorePattern(parts, negated, only_folders)


def _matches_parts(patterns: Sequence[str], names: Sequence[str]) -> bool:
    """Compare the names one by one. `reached[i]`: the first i patterns match all names up to the current one.

    `**` stands for any number of names; as the last pattern, for one at least.
    """
    reached = [True] + [False] * len(patterns)
    for index, pattern in enumerate(patterns):
        last = index == len(patterns) - 1
        reached[index + 1] = reached[index] and pattern == _DOUBLE_STAR and not last
    for name in names:
        previous, reached = reached, [False] * (len(patterns) + 1)
        for index, pattern in enumerate(patterns):
            if pattern == _DOUBLE_STAR:
                last = index == len(patterns) - 1
                reached[index + 1] = previous[index + 1] or previous[index] or (reached[index] and not last)
            elif previous[index]:
                reached[index + 1] = matches_name(pattern, name)
    return reached[-1]


def matches_name(pattern: str, name: str) -> bool:
    """Whether a pattern with `*`, `?`, `[...]` and backslashes matches a whole name."""
    rest = pattern.removeprefix("*")
    if not _WILDCARD.search(rest):
        return pattern == name if rest == pattern else name.endswith(rest)
    tokens = _tokens(pattern)
    if tokens is None:
        return False
    at = in_name = 0  # the positions in `tokens` and in `name` that are compared next
    star = -1  # the position in `tokens` of the last `*`; none yet
    while in_name < len(name):
        if at < len(tokens) and tokens[at] == "*":
            star, star_end = at, in_name  # at first, the `*` stands for no characters
            at += 1
        elif at < len(tokens) and _matches_char(tokens[at], name[in_name]):
            at, in_name = at + 1, in_name + 1
        elif star >= 0:
            star_end += 1  # try again with one more character for the last `*`
            at, in_name = star + 1, star_end
        else:
            return False
    return all(part == "*" for part in tokens[at:])


_Token = str | tuple[bool, tuple[tuple[str, str], ...]]
"""`*`, `?`, a backslash and a character, or a class: whether it is negated, and its ranges."""


def _tokens(pattern: str) -> list[_Token] | None:
    """The parts of a pattern; None if it matches nothing: a class is not closed, or a backslash is last."""
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "[":
            found = _read_class(pattern, at)
            if found is None:
                return None
            token, at = found
            tokens.append(token)
        elif char == "\\":
            if at == len(pattern):
                return None
            tokens.append(f"\\{pattern[at]}")
            at += 1
        elif char != "*":
            tokens.append(char if char == "?" else f"\\{char}")
        elif not tokens or tokens[-1] != "*":
            tokens.append(char)
    return tokens


def _read_class(pattern: str, at: int) -> tuple[_Token, int] | None:
    """The class whose `[` is before `at`, and the position after its `]`; None if no `]` follows."""
    negated = pattern[at : at + 1] in {"!", "^"}
    at += negated
    ranges: list[tuple[str, str]] = []
    first = True
    while at < len(pattern):
        char = pattern[at]
        if char == "]" and not first:
            return (negated, tuple(ranges)), at + 1
        first = False
        if char == "\\":
            at += 1
            char = pattern[at : at + 1]
        high = char
        if pattern[at + 1 : at + 2] == "-" and pattern[at + 2 : at + 3] not in {"", "]"}:
            at += 2
            if pattern[at] == "\\":
                at += 1
            high = pattern[at : at + 1]
        ranges.append((char, high))
        at += 1
    return None


def _matches_char(token: _Token, char: str) -> bool:
    if isinstance(token, str):
        return token in {"?", f"\\{char}"}
    negated, ranges = token
    return any(low <= char <= high for low, high in ranges) != negated
