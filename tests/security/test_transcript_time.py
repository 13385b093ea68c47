"""Any line of an agent is shown within seconds: while a process does this, it cannot stop the run."""

import json
import time
from typing import Any

import pytest

from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader

OLD, NEW = "\n".join("a" * 99), "\n".join("b" * 99)
EDIT = {"file_path": "f", "old_string": OLD, "new_string": NEW}
SCATTERED_EDIT = {"file_path": "f", "old_string": "\n".join("abc" * 33), "new_string": "\n".join("bdac" * 24)}


def line_of(name: str, tool_input: dict[str, Any], count: int) -> str:
    call = {"type": "tool_use", "id": "x", "name": name, "input": tool_input}
    return json.dumps({"type": "assistant", "message": {"content": [call] * count}})


@pytest.mark.parametrize(
    ("name", "tool_input", "count"),
    [
        ("Edit", EDIT, 3000),
        ("Edit", SCATTERED_EDIT, 3000),
        ("MultiEdit", {"file_path": "f", "edits": [EDIT] * 50}, 60),
    ],
)
def test_thousands_of_edits_on_one_line_are_shown_soon(
    name: str, tool_input: dict[str, Any], count: int
) -> None:
    line = line_of(name, tool_input, count)
    began = time.process_time()
    items = ItemReader().read(line)
    assert len(items) == count
    # the first version of this code, which made a table of lengths for each edit, took 20 s
    assert time.process_time() - began < 6
