"""Each part of the adapter that handles an agent's output does so in bounded memory and time."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fuzzing import FUZZ
from tests.support.judged_output import result_line, transcript_of
from tests.support.ui_parser import TIMESTAMP, as_json, parsed_by_javascript

from paperclip_claude_k8s.base.recent_texts import RecentTexts
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.claude.dedup import LogLineDedupFilter
from paperclip_claude_k8s.claude.partial_line import PartialLine
from paperclip_claude_k8s.claude.ui import parse_stdout_line
from paperclip_claude_k8s.podlog.counts import MAX_GAPS, Counts
from paperclip_claude_k8s.podlog.log_report import Gap
from paperclip_claude_k8s.podlog.marks import Bookmark
from paperclip_claude_k8s.run.narrate import chunks_of_lines

INIT = b'{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'
MAX_REPLAY_MB = 220
"""Memory that a `replay` process may take. Without an input it takes 60 MB."""


# ── ids ───────────────────────────────────────────────────────────────────────────────────────────────


def test_recent_texts_forget_the_oldest_and_ignore_what_is_no_id() -> None:
    texts = RecentTexts(limit=3)
    texts.update(["a", "b", "a", "", "x" * (LIMITS.id_chars + 1), 5, None, "c", "d"])
    assert list(texts) == ["b", "c", "d"]  # adding "a" again did not make it newer
    texts.discard("c")
    texts.discard("missing")
    assert ("c" in texts, "d" in texts, 5 in texts, len(texts)) == (False, True, False, 2)


def test_many_recent_texts_take_linear_time() -> None:
    texts = RecentTexts()
    began = time.thread_time()
    for number in range(200_000):
        texts.add(str(number))
    assert len(texts) == LIMITS.remembered_ids
    assert time.thread_time() - began < 5


def test_whole_events_are_recognised_without_parsing_large_lines() -> None:
    counts = Counts()
    counts.add(b'{"n":1}\n', lines=1)  # from now on, JSON objects are expected
    many_values = b'{"a":[' + b"[]," * 3_000_000
    began = time.thread_time()
    assert not counts.is_partial(many_values + b"1]}\n")
    assert counts.is_partial(many_values)
    assert counts.is_partial(many_values[1:] + b"1]}\n")
    assert time.thread_time() - began < 0.5
    assert not counts.is_partial(b'{"n":2}\n')
    assert counts.is_partial(b'{"n":2}, 3}\n')


# ── lines ─────────────────────────────────────────────────────────────────────────────────────────────


def test_partial_line_keeps_a_bounded_beginning() -> None:
    line = PartialLine()
    piece = b"x" * (LIMITS.log_line_bytes // 4)
    for _ in range(20):
        line.add(piece)
        line.add(b"")
    assert line
    assert len(line.take()) == LIMITS.log_line_bytes
    assert not line
    assert line.take() == b""


def test_repeat_filter_releases_a_line_that_never_ends() -> None:
    repeats = LogLineDedupFilter()
    piece = "x" * (LIMITS.log_line_bytes // 4)
    passed = "".join(repeats.filter(piece) for _ in range(9)) + repeats.flush()
    assert passed == piece * 9


@FUZZ
@given(st.lists(st.binary(max_size=9) | st.text(max_size=9).map(str.encode), max_size=9), st.integers(4, 30))
def test_chunks_of_any_block_join_to_the_block(parts: list[bytes], line_limit: int) -> None:
    block = b"\n".join(parts)
    chunks = list(chunks_of_lines(block, limit=8, line_limit=line_limit))
    assert b"".join(chunks) == block
    assert all(0 < len(chunk) <= max(8, line_limit) for chunk in chunks)


@given(st.text("aé€😀", min_size=1, max_size=60))
def test_long_line_is_split_between_characters(text: str) -> None:
    chunks = list(chunks_of_lines(text.encode(), limit=8, line_limit=10))
    assert "".join(chunk.decode() for chunk in chunks) == text


# ── gaps ──────────────────────────────────────────────────────────────────────────────────────────────


def test_forged_bookmarks_list_a_bounded_number_of_gaps() -> None:
    counts = Counts()
    for number in range(1, 5000):
        counts.check(Bookmark(bytes=number * 10, lines=number), time=number)
    assert len(counts.gaps) == MAX_GAPS
    # the last bookmark counts 49,990 bytes, of which none were delivered
    assert sum(gap.bytes or 0 for gap in counts.gaps) == counts.missing == 49_990
    counts.add_gap(Gap(since=1, until=2))
    assert counts.gaps[-1].bytes is None  # unknown


# ── parsers of the host's page, in Python and in JavaScript ───────────────────────────────────────────


@pytest.mark.parametrize(
    ("part", "chars"), [("[],", 3_000_000), ('{"a":1},', 3_000_000), ("[],", 1_200_000), ('"x, ",', 600_000)]
)
def test_both_page_parsers_show_a_large_line_in_the_same_way(part: str, chars: int) -> None:
    line = '{"type":"assistant","message":{"content":[' + part * (chars // len(part)) + "0]}}"
    began = time.thread_time()
    shown = parse_stdout_line(line, TIMESTAMP)
    assert time.thread_time() - began < 5
    assert as_json(shown) == parsed_by_javascript([line])[0]


def test_page_shows_a_cut_line_with_a_million_escapes() -> None:
    line = '{"type":"assistant","message":{"content":[{"type":"text","text":"' + "\\n" * 1_000_000
    (entry,) = parse_stdout_line(line, TIMESTAMP)
    assert entry["kind"] == "assistant"


# ── replay ────────────────────────────────────────────────────────────────────────────────────────────


def run_replay(file: Path, *arguments: str) -> tuple[dict[str, Any], float]:
    """Run `replay` in a process of its own; return its reply, and the process's peak memory in MB."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from paperclip_claude_k8s.__main__ import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    status = Path('/proc/self/status').read_text().split()\n"
        "    print(status[status.index('VmHWM:') + 1], file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, "replay", str(file), *arguments]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    peak = int(done.stderr.split()[-1]) * 1024 / 1e6
    return json.loads(done.stdout), peak


@pytest.mark.parametrize("quiet", [("--quiet",), ()])
def test_replay_of_a_huge_compressed_line_takes_bounded_memory(
    quiet: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "captured.gz"
    with gzip.open(file, "wb", compresslevel=1) as out:
        out.write(b'{"type":"result","x":[')
        for _ in range(300):
            out.write(b"[]," * 300_000)
        out.write(b"0]}\n" + INIT + result_line())
    assert file.stat().st_size < 2_000_000
    reply, peak = run_replay(file, *quiet)
    assert reply["status"] == "succeeded"
    assert reply["result"]["sessionId"] == "s"
    assert peak < MAX_REPLAY_MB


@pytest.mark.parametrize("start", ["", '{"type":"assistant","message":{"content":[{"type":"text","text":"'])
def test_replay_of_a_long_line_with_an_emoji_takes_bounded_memory(start: str, tmp_path: Path) -> None:
    file = tmp_path / "captured.ndjson"
    file.write_bytes(f"{start}\U0001f600".encode() + b"x" * 31_000_000 + b"\n" + INIT + result_line())
    reply, peak = run_replay(file)
    assert reply["status"] == "succeeded"
    assert peak < MAX_REPLAY_MB


@pytest.mark.parametrize(
    "content",
    [gzip.compress(INIT * 1000)[:-20], b"\x1f\x8b\x08\x00", b"not gzip"],
    ids=["no end", "header only", "not gzip"],
)
def test_replay_of_a_damaged_archive_is_a_usage_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "captured.gz"
    file.write_bytes(content)
    reply, _ = run_replay(file, "--quiet")
    assert (reply["status"], reply["error"]) == ("failed", "usage")


# ── state of the parser ───────────────────────────────────────────────────────────────────────────────


def test_answer_of_many_messages_is_bounded() -> None:
    message = (
        b'{"type":"assistant","message":{"id":"m%d","content":[{"type":"text","text":"%b"}]},"uuid":"u"}\n'
    )
    transcript = transcript_of(b"".join(message % (n, b"t" * 10_000) for n in range(500)))
    assert len(transcript.summary) <= LIMITS.answer_chars


def test_background_tasks_above_the_bound_still_keep_the_run_open() -> None:
    reader = StreamReader()
    started = b'{"type":"system","subtype":"task_started","task_id":"t%d","tool_use_id":"u%d"}\n'
    reader.feed(INIT + b"".join(started % (n, n) for n in range(20_000)) + result_line())
    assert len(reader.open_work.tasks) == LIMITS.remembered_ids
    assert reader.allowed_silence() is None  # the agent may be silent for any time
