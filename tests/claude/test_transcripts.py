"""The transcripts of recorded runs, as a terminal of 100 columns without colours shows them beside the bar.

`UPDATE_TRANSCRIPTS=yes` writes the files in `transcripts/` again. Read the difference before you commit it.
"""

import os
from pathlib import Path

import pytest
from tests.support.captures import NEW, OLD, recorded

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, terminal_lines
from paperclip_claude_k8s.cli.agent_output import BAR

FOLDER = Path(__file__).parent / "transcripts"
RUNS = [
    (NEW, "02-tools-multiblock"),
    (NEW, "05c-max-budget"),
    (NEW, "07a-401-invalid-key"),
    (NEW, "13b-big-tool-output"),
    (NEW, "15a-subagent"),
    (NEW, "15c-subagent-background"),
    (NEW, "15d-subagent-error"),
    (NEW, "16b-b-compact-manual"),
    (NEW, "17a-hooks"),
    (NEW, "17c-hook-stop"),
    (NEW, "17f-mcp"),
    (NEW, "18-permission-denied"),
    (NEW, "21a-json-schema"),
    (NEW, "22-thinking-only"),
    (NEW, "23a-background-bash"),
    (NEW, "24d2-slash-context-nodash"),
    (OLD, "08z-529-default-retries"),
    (OLD, "12a-sigkill"),
    (OLD, "15c-subagent-background"),
    (OLD, "20a-refusal"),
    (OLD, "24g-fallback-model"),
]
MADE_UP = "made-up"
"""A run with what no capture has: edits, todos, a long failure, parallel sub-agents, much Markdown."""


def transcript(stdout: bytes) -> str:
    stream_reader, item_reader, screen = StreamReader(), ItemReader(), Screen(100 - len(BAR))
    items = []
    for line in stdout.split(b"\n"):
        stream_reader.feed(line + b"\n")
        items += item_reader.read(line.decode("utf-8", "replace"))
    items += item_reader.finish(stream_reader.finish().reported_usage.for_run(resumed=None))
    return "".join(f"{line}\n" for item in items for line in terminal_lines(item, screen))


def assert_equals_file(name: str, text: str) -> None:
    file = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_TRANSCRIPTS") == "yes":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("folder", "name"), RUNS)
def test_transcript_of_a_recorded_run_equals_its_file(folder: str, name: str) -> None:
    version = "2.1.332" if folder == NEW else "2.1.197"
    assert_equals_file(f"{name}-{version}", transcript(recorded(name, folder)[0]))


def test_transcript_of_the_made_up_run_equals_its_file() -> None:
    assert_equals_file(MADE_UP, transcript((FOLDER / f"{MADE_UP}.ndjson").read_bytes()))
