"""If not all items fit, the first and the last ones are kept."""

from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.kept_items import ITEM_CHARS, KeptItems


def kept(count: int, limit: int) -> list[str]:
    items = KeptItems(limit)
    for number in range(count):
        items.add(Item("plain", str(number)))
    return [item.text for item in items]


def test_all_items_are_kept_while_they_fit() -> None:
    assert kept(6, 8 * ITEM_CHARS) == ["0", "1", "2", "3", "4", "5"]


def test_items_in_the_middle_are_left_out_with_their_number() -> None:
    shown = kept(1000, 8 * ITEM_CHARS)
    assert shown[:3] == ["0", "1", "2"]
    assert shown[3].startswith("994 items left out here")
    assert shown[4:] == ["997", "998", "999"]


def test_last_item_is_kept_however_long_it_is() -> None:
    items = KeptItems(8 * ITEM_CHARS)
    for text in ("first", "x" * 100_000, "y" * 100_000):
        items.add(Item("answer", text))
    assert [item.text[:5] for item in items] == ["first", "1 ite", "yyyyy"]


def test_lines_of_a_body_count_too() -> None:
    items = KeptItems(8 * ITEM_CHARS)
    for _ in range(100):
        items.add(Item("call", "", body=(("add", "x"),) * 20))
    assert len(list(items)) == 2
