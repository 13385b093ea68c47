"""Finds and masks secrets whose values are known, within a limited time for any values and texts."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.redact import MASK, mask_credentials

_MIN_KNOWN_VALUE_CHARS = 8
"""Shorter values occur in ordinary text, so they are not masked by value."""

_TEXT_COST = 64
"""To search one more text costs as much time as to search this many more characters."""

_PADDING = "\0" * 30_000
"""Appended to a text, it makes the text so long that CPython searches it in linear time. In a shorter text
CPython may compare many characters of a value at each place."""
_SLOW_SEARCH = 200_000
"""If the length of a value times the length of a text is larger, the text is searched with padding."""
_SHORT_TEXT_CHARS = 200
"""A text of at most this length is searched fast even without padding."""


def would_be_masked(text: str, secrets: Collection[str]) -> bool:
    """Return whether the text contains a known secret or a credential recognizable by its shape."""
    return contain_secrets([text], secrets)[0] or mask_credentials(text) != text


def contain_secrets(texts: Sequence[str], secrets: Collection[str]) -> list[bool]:
    """Return for each text whether it contains a known secret.

    If the search would take longer than `Limits.secret_search` allows, each text counts as containing one.
    """
    known = _searchable(secrets)
    if _is_too_long_a_search(known, texts):
        return [True] * len(texts)
    has_secret = [False] * len(texts)
    rest = _JoinedTexts(texts, range(len(texts)))
    for value in known:
        if numbers := rest.containing(value):
            for number in numbers:
                has_secret[number] = True
            rest = _JoinedTexts(texts, [number for number in rest.numbers if not has_secret[number]])
    return has_secret


class _JoinedTexts:
    """Some of the texts, as one long text that is searched in linear time."""

    def __init__(self, texts: Sequence[str], numbers: Sequence[int]) -> None:
        self.numbers = numbers
        chosen = [texts[number] for number in numbers]
        self._starts = [0, *accumulate(len(text) + 1 for text in chosen)]
        self._text = "\0".join(chosen)
        self._padded = self._text + _PADDING

    def containing(self, value: str) -> list[int]:
        """The numbers of the texts that contain the value: their places in the list given to `__init__`."""
        is_slow = len(value) * len(self._text) > _SLOW_SEARCH
        searched, found, start = self._padded if is_slow else self._text, [], 0
        while (place := searched.find(value, start)) >= 0:
            index = bisect_right(self._starts, place) - 1
            if index >= len(self.numbers):  # found in the padding, which a value of null characters matches
                break
            found.append(self.numbers[index])
            start = self._starts[index + 1]
        return found


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with known secrets masked, except short ones.

    The longest is masked first, because it may contain another one.
    """
    return _mask_sorted(text, _longest_first(secrets))


def mask_tree(value: Any, secrets: Collection[str]) -> Any:  # noqa: ANN401  # any JSON
    """Return JSON with known secrets and credentials recognizable by shape masked in all string values.

    Every string becomes `MASK` if the search would take longer than `Limits.secret_search` allows.
    """
    if _is_too_long_a_search(_searchable(secrets), _texts_in(value)):
        return _map_texts(value, lambda _: MASK)
    known, texts = _longest_first(secrets), list(dict.fromkeys(_texts_in(value)))
    with_secret = {text for text, found in zip(texts, contain_secrets(texts, known), strict=True) if found}
    if _is_too_long_a_search(known, map(_padded, with_secret)):
        return _map_texts(value, lambda text: MASK if text in with_secret else mask_credentials(text))
    return _map_texts(
        value, lambda text: mask_credentials(_mask_sorted(text, known) if text in with_secret else text)
    )


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _map_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_texts(item, change) for item in value]
    return value


def _texts_in(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _searchable(secrets: Iterable[str]) -> set[str]:
    return {value for value in secrets if len(value) >= _MIN_KNOWN_VALUE_CHARS}


def _longest_first(secrets: Iterable[str]) -> list[str]:
    return sorted(_searchable(secrets), key=len, reverse=True)


def _mask_sorted(text: str, known: Iterable[str]) -> str:
    padded = _padded(text)
    for value in known:
        if value in (padded if len(value) * len(text) > _SLOW_SEARCH else text):
            text = text.replace(value, MASK)
            padded = _padded(text)
    return text


def _padded(text: str) -> str:
    return text if len(text) <= _SHORT_TEXT_CHARS else text + _PADDING


def _is_too_long_a_search(known: Collection[str], texts: Iterable[str]) -> bool:
    """Whether a search for each value in each text would keep all other runs waiting."""
    return bool(known) and len(known) * sum(len(text) + _TEXT_COST for text in texts) > LIMITS.secret_search
