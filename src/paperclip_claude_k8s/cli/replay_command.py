"""`claude-k8s replay`: the result that a run with this captured output would have had."""

import json
import zlib
from collections.abc import Iterator
from functools import partial

from rich.console import Console

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.dedup import LogLineDedupFilter
from paperclip_claude_k8s.cli.command_options import ReplayOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, USAGE, print_reply
from paperclip_claude_k8s.cli.formats import chosen_format
from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cli.reply_text import print_end, run_text
from paperclip_claude_k8s.cli.runs.replies import Reply
from paperclip_claude_k8s.replay.judging import judge_transcript
from paperclip_claude_k8s.replay.pod_states import ReplayInvalid, ending_of
from paperclip_claude_k8s.replay.recording_formats import STATUS_START, Stream
from paperclip_claude_k8s.replay.recordings import agent_output, open_recording
from paperclip_claude_k8s.verdict.ending import Ending


def replay(options: ReplayOptions) -> int:
    """Print the transcript on stderr and the result on stdout.

    Exit code 0: the run succeeded. 1: it failed. 2: the input is invalid.
    """
    try:
        ending = _ending(options)
        transcript = _read(options)
    except ReplayInvalid as error:
        reply = {"status": "failed", "error": "usage", "detail": str(error)}
        return print_reply(reply, USAGE, options.output_format)
    reply = judged(transcript, ending, resumed=options.resumed)
    code = print_reply(
        reply,
        DONE if reply["status"] == "succeeded" else FAILED,
        options.output_format,
        partial(run_text, reply),
    )
    if not options.quiet and not chosen_format(options.output_format).is_for_programs:
        print_end(reply)
    return code


def judged(transcript: Transcript, ending: Ending, *, resumed: bool | None) -> Reply:
    """`{status, result}` of a run with this output and this ending. `resumed`: None if unknown."""
    result = judge_transcript(transcript, ending, resumed=resumed)
    status = "succeeded" if result.error_code is None else "failed"
    return {"status": status, "result": result.to_wire()}


def _read(options: ReplayOptions) -> Transcript:
    """Show the transcript on stderr, and return the facts of it. Raises `ReplayInvalid`."""
    reader = StreamReader()
    console = Console(stderr=True, highlight=False)
    live = LiveView(console, quiet=options.quiet, times=options.times, recorded=True)
    for stream, block in _recorded(options):
        if stream == "status":
            # it gets a bar, because a recording does not show whether the agent printed this line
            live.show_agent_lines("stdout", [STATUS_START + block])
            continue
        (reader.feed_stderr if stream == "stderr" else reader.feed)(block)
        live.show_agent_output(stream, block, block)
    live.end_agent_output(resumed=options.resumed)
    return reader.finish()


def _recorded(options: ReplayOptions) -> Iterator[tuple[Stream, bytes]]:
    """The agent's output in all files, one after another. Raises `ReplayInvalid`."""
    dedup_filter = LogLineDedupFilter() if options.dedup else None
    for file in options.files:
        try:
            with open_recording(file) as source:
                for stream, block in agent_output(source):
                    yield stream, _without_repeats(block, dedup_filter) if stream == "stdout" else block
        except (OSError, EOFError, zlib.error) as error:
            raise ReplayInvalid(f"{file} cannot be read: {error}") from None
        yield "stdout", b"\n"  # the last line of a file may have no newline
    if dedup_filter is not None:
        yield "stdout", dedup_filter.flush().encode("utf-8", "surrogateescape")


def _without_repeats(block: bytes, dedup_filter: LogLineDedupFilter | None) -> bytes:
    """The block without the events that the filter has passed already."""
    if dedup_filter is None:
        return block
    return dedup_filter.filter(block.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _ending(options: ReplayOptions) -> Ending:
    """How the container ended, from --pod-state and --exit-code. Raises `ReplayInvalid`."""
    if options.pod_state is None:
        return ending_of(options.exit_code)
    try:
        return ending_of(options.exit_code, json.loads(options.pod_state))
    except ReplayInvalid as error:
        example = '{"exitCode": 137, "reason": "OOMKilled"}'
        raise ReplayInvalid(f"--pod-state: {error}; an example: {example}") from None
    except ValueError as error:
        raise ReplayInvalid(f"--pod-state is not JSON: {error}") from None
