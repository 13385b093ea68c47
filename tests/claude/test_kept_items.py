"""`KeptItems`: if not all items fit into the limit, the first and the last items are kept."""

from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.kept_items import ITEM_CHARS, KeptItems


def kept(count: int, limit: int) -> list[str]:
    items = KeptItems(limit)
    for number in range(count):
        items.add(Item("plain", str(number)))
    return [item.text for item in items]


def test_all_items_are_kept_while_they_fit() -> None:
    assert kept(6, 8 * ITEM_CHARS) == ["0", "1", "2", "3", "4", "5"]


def test_items_in_the_middle_are_replaced_by_a_note_with_their_number() -> None:
    shown = kept(1000, 8 * ITEM_CHARS)
    assert shown[:3] == ["0", "1", "2"]
    assert shown[3].startswith("994 items left out here")
    assert shown[4:] == ["997", "998", "999"]


def test_last_item_is_kept_however_long_it_is() -> None:
    items = KeptItems(8 * ITEM_CHARS)
    for text in ("first", "x" * 100_000, "y" * 100_000):
        items.add(Item("answer", text))
    first, note, last = items
    assert (first.text, last.text) == ("first", "y" * 100_000)
    assert note.text.startswith("1 item left out here")


def test_lines_of_the_body_of_an_item_count_towards_the_limit() -> None:
    items = KeptItems(8 * ITEM_CHARS)
    for _ in range(100):
        items.add(Item("call", "", body=(("add", "x"),) * 20))
    assert len(list(items)) == 2  # one call alone exceeds the limit: only the last one is kept, and a note
