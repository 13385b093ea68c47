"""`claude-k8s replay`: the result that a run with this captured output would have had."""

import json
import zlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.claude.dedup import LogLineDedupFilter
from paperclip_claude_k8s.cli.command_options import ReplayOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, USAGE, print_reply
from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cli.recorded_lines import agent_output, open_recording
from paperclip_claude_k8s.cli.recording_formats import STATUS_START, Stream
from paperclip_claude_k8s.cli.runs.replies import Reply
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.ports import utc_now
from paperclip_claude_k8s.verdict.disruption import lost_container
from paperclip_claude_k8s.verdict.ending import Disrupted, Ending, Exited, JobGone
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result


class ReplayInvalid(Exception):
    """The recording cannot be replayed; the message says why."""


def replay(options: ReplayOptions) -> int:
    """Print the transcript on stderr and the result on stdout.

    Exit code 0: the run succeeded. 1: it failed. 2: the input is invalid.
    """
    try:
        observation = _observe(options)
    except ReplayInvalid as error:
        return print_reply({"status": "failed", "error": "usage", "detail": str(error)}, USAGE)
    reply = judge_recording(observation, resumed=options.resumed)
    return print_reply(reply, DONE if reply["status"] == "succeeded" else FAILED)


def judge_recording(observation: Observation, *, resumed: bool | None) -> Reply:
    """`{status, result}` of a run that was observed like this. `resumed`: None if unknown."""
    now = utc_now()
    failure = classify_end(observation, OutcomeInputs(now, resumed=resumed, recorded=True))
    result = build_result(failure, observation, ResultInputs(now, resumed=resumed)).to_wire()
    return {"status": "succeeded" if failure is None else "failed", "result": result}


def _observe(options: ReplayOptions) -> Observation:
    """Show the transcript, and return what a run would have observed. Raises `ReplayInvalid`."""
    ending = _ending(options)
    reader = StreamReader()
    console = Console(stderr=True, highlight=False)
    live = LiveView(console, quiet=options.quiet, times=options.times, recorded=True)
    for stream, block in _recorded(options):
        if stream == "status":
            # behind a bar: an agent may have printed the line, and a recording does not tell
            live.show_agent_lines("stdout", [STATUS_START + block])
            continue
        (reader.feed_stderr if stream == "stderr" else reader.feed)(block)
        live.show_agent_output(stream, block, block)
    live.end_agent_output(resumed=options.resumed)
    return Observation(ending, reader.finish(), None, None, RunFacts("(replay)", "(replay)"))


def _recorded(options: ReplayOptions) -> Iterator[tuple[Stream, bytes]]:
    """The agent's output in all files, one after another. Raises `ReplayInvalid`."""
    repeats = LogLineDedupFilter() if options.dedup else None
    for file in options.files:
        try:
            with open_recording(file) as source:
                for stream, block in agent_output(source):
                    yield stream, _once(block, repeats) if stream == "stdout" else block
        except (OSError, EOFError, zlib.error) as error:
            raise ReplayInvalid(f"{file} cannot be read: {error}") from None
        yield "stdout", b"\n"  # the last line of a file may have none
    if repeats is not None:
        yield "stdout", repeats.flush().encode("utf-8", "surrogateescape")


def _once(block: bytes, repeats: LogLineDedupFilter | None) -> bytes:
    """The block without the events that the filter has passed already."""
    if repeats is None:
        return block
    return repeats.filter(block.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _ending(options: ReplayOptions) -> Ending:
    """How the container ended, by --pod-state and --exit-code. With neither, it exited with 0."""
    state = _read_pod_state(options.pod_state)
    code = options.exit_code if options.exit_code is not None else state.get("exitCode")
    if code is not None and (not isinstance(code, int) or isinstance(code, bool)):
        raise ReplayInvalid("--pod-state: exitCode must be a whole number")
    texts = {key: str(state.get(key) or "") for key in ("reason", "message", "disrupted")}
    signal = state.get("signal") if isinstance(state.get("signal"), int) else None
    # whether --pod-state says how the container ended, not only what happened to its Pod or Job
    is_known = code is not None or texts["reason"] or texts["message"] or not state
    end = Terminated(code if state or code is not None else 0, texts["reason"], texts["message"], signal)
    if (lost := lost_container(end)) is not None:
        return Disrupted("(replay)", lost.reason, lost.details, end)
    if state.get("deleted"):
        return JobGone("replay", end if is_known else None)
    if texts["disrupted"]:
        return Disrupted("(replay)", texts["disrupted"], texts["message"], end if is_known else None)
    return Exited(end)


def _read_pod_state(text: str | None) -> dict[str, Any]:
    try:
        state = json.loads(text) if text is not None else {}
    except ValueError as error:
        raise ReplayInvalid(f"--pod-state is not JSON: {error}") from None
    if not isinstance(state, dict):
        raise ReplayInvalid(
            '--pod-state must be a JSON object, such as {"exitCode": 137, "reason": "OOMKilled"}'
        )
    return state
