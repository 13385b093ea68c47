"""Shows recorded output to a person: as text, or as an HTML page."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.kept_items import KeptItems
from paperclip_claude_k8s.claude.rendering.page import PageHeader, page
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, terminal_lines
from paperclip_claude_k8s.replay.judging import Recording, judge_transcript, output_of
from paperclip_claude_k8s.replay.pod_states import ending_of
from paperclip_claude_k8s.replay.recording_formats import Stream


def render(
    recording: Recording,
    *,
    width: int | None = None,
    colours: bool = False,
    times: bool = False,
    resumed: bool | None = None,
) -> str:
    """The transcript as text: as `claude-k8s replay` prints it, without the bar at the start of each line.

    Args:
        recording: see `read_stream`.
        width: columns at which lines are wrapped; None: lines are not wrapped.
        colours: whether terminal styles and colours are used.
        times: whether each item begins with the time (UTC) of its event.
        resumed: whether the run resumed an earlier session; its cost depends on it. None if unknown.

    Raises:
        OSError, EOFError, zlib.error: a file cannot be read.
    """
    screen = Screen(width, styles=colours, colours=colours, times=times)
    _, items = read_items(output_of(recording), resumed=resumed)
    return "".join(f"{line}\n" for item in items for line in terminal_lines(item, screen))


def render_page(
    recording: Recording,
    *,
    title: str = "Recorded run",
    exit_code: int | None = None,
    pod_state: object = None,
    resumed: bool | None = None,
) -> str:
    """The transcript and the result as one HTML page, as `claude-k8s report --html` writes it.

    The arguments other than `title` are those of `judge`.
    """
    ending = ending_of(exit_code, pod_state)
    transcript, items = read_items(output_of(recording), resumed=resumed)
    result = judge_transcript(transcript, ending, resumed=resumed).to_wire()
    status = "failed" if result.get("errorCode") else "succeeded"
    return "".join(page(page_header(title, status, result), items))


def read_items(
    blocks: Iterable[tuple[Stream, bytes]], *, resumed: bool | None
) -> tuple[Transcript, list[Item]]:
    """The facts and the items of recorded output."""
    facts, reader, kept = StreamReader(), ItemReader(), KeptItems()
    for stream, block in blocks:
        if stream == "stdout":
            facts.feed(block)
            shown = block[: LIMITS.host_chunk_bytes]  # a host gets longer lines in several chunks
            for item in reader.read(shown.decode("utf-8", "replace")):
                kept.add(item)
        elif stream == "stderr":
            facts.feed_stderr(block)
    transcript = facts.finish()
    return transcript, [*kept, *reader.finish(transcript.reported_usage.for_run(resumed=resumed))]


def page_header(
    title: str, status: str, result: Mapping[str, Any], further_facts: Mapping[str, str] | None = None
) -> PageHeader:
    """The header of a page about a run with this result. `further_facts`: those that no result contains."""
    cost = result.get("costUsd")
    usage: Mapping[str, Any] = result.get("usage") or {}
    details: Mapping[str, Any] = result.get("resultJson") or {}
    facts = {
        **(further_facts or {}),
        "model": str(result.get("model") or ""),
        "cost": f"${cost:.4f}" if isinstance(cost, int | float) else "unknown",
        "tokens in": _formatted_count(usage.get("inputTokens")),
        "from the cache": _formatted_count(usage.get("cachedInputTokens")),
        "tokens out": _formatted_count(usage.get("outputTokens")),
        "session": str(result.get("sessionId") or ""),
        "error": str(result.get("errorCode") or ""),
    }
    message = str(result.get("errorMessage") or "")
    return PageHeader(title, status, message, tuple(facts.items()), tuple(_phases(details)))


def _phases(details: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    phases: Mapping[str, Any] = details.get("phases") or {}
    return ((str(name), int(value)) for name, value in phases.items() if isinstance(value, int | float))


def _formatted_count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""
