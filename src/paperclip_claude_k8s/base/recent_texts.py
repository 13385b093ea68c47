"""A set that keeps a limited number of texts."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from paperclip_claude_k8s.base.settings import LIMITS


class RecentTexts:
    """Remembers the texts that were added last. Empty and very long texts are ignored: they are no ids.

    A text that is added again keeps its place: only its first addition counts.
    """

    def __init__(self, limit: int = LIMITS.remembered_ids) -> None:
        self._limit = limit
        # an OrderedDict finds the oldest key quickly, unlike a dict after many deletions
        self._texts: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, text: object) -> bool:
        return text in self._texts

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def add(self, text: object) -> None:
        """Remember the text. If there are too many, forget the one that was added first."""
        if isinstance(text, str) and 0 < len(text) <= LIMITS.id_chars:
            self._texts[text] = None
            if len(self._texts) > self._limit:
                self._texts.popitem(last=False)

    def update(self, texts: Iterable[object]) -> None:
        for text in texts:
            self.add(text)

    def discard(self, text: str) -> None:
        self._texts.pop(text, None)

    def replace(self, texts: Iterable[object]) -> None:
        """Remember only these texts."""
        self._texts.clear()
        self.update(texts)
