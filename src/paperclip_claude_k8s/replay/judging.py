"""Reads recorded output of the Claude CLI, and judges it as a run would have."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.replay.pod_states import NO_NAME, ReplayInvalid, ending_of
from paperclip_claude_k8s.replay.recording_formats import RecordingFormat, Stream
from paperclip_claude_k8s.replay.recordings import agent_output, open_recording, recorded_lines
from paperclip_claude_k8s.verdict.ending import Ending
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

Recording: TypeAlias = str | bytes | Path | Iterable[str | bytes]
"""Recorded output: the text itself, its lines, or the path of a file with it, which may be gzipped."""

MAX_FILE_NAME_CHARS = 1024
"""A text with more characters is not taken for the name of a file."""


def read_stream(lines: Recording) -> Transcript:
    """What recorded output contains: session, answer, usage, result and more.

    `lines` is the stdout of the CLI, or any log that `docs/building-hosts.md` names.

    Raises:
        ReplayInvalid: `lines` is the name of a file as text, which has to be a `Path`.
        OSError, EOFError, zlib.error: a file cannot be read.
    """
    return read_blocks(output_of(lines))


def judge(
    stdout: Recording,
    *,
    exit_code: int | None = None,
    pod_state: object = None,
    resumed: bool | None = None,
) -> ExecutionResult:
    """The result of a run that printed this output and whose container ended as described.

    Args:
        stdout: what the CLI printed; see `read_stream`.
        exit_code: that of the agent's container, which replaces the `exitCode` of `pod_state`. If neither
            argument is given, it is 0.
        pod_state: how the container ended: a mapping with any of `exitCode`, `reason`, `message`, `signal`,
            `deleted` (true if the Job was deleted) and `disrupted` (the reason why the cluster removed the
            Pod, such as "Evicted"), or a client's `V1ContainerState` or `V1ContainerStateTerminated`.
        resumed: whether the run resumed an earlier session; None if unknown. Cost and some failures depend
            on it.

    Raises:
        ReplayInvalid: `pod_state` has an unknown field or a wrong value; `stdout` is the name of a file.
        OSError, EOFError, zlib.error: a file cannot be read.
    """
    ending = ending_of(exit_code, pod_state)
    return judge_transcript(read_stream(stdout), ending, resumed=resumed)


def judge_transcript(transcript: Transcript, ending: Ending, *, resumed: bool | None) -> ExecutionResult:
    """The result of a run with this output and this ending. `resumed`: None if unknown."""
    facts = RunFacts(job=NO_NAME, namespace=NO_NAME)
    observation = Observation(ending, transcript, log=None, relay=None, facts=facts)
    now = datetime.now(UTC)
    failure = classify_end(observation, OutcomeInputs(now, resumed=resumed, recorded=True))
    return build_result(failure, observation, ResultInputs(now, resumed=resumed))


def read_blocks(blocks: Iterable[tuple[Stream, bytes]]) -> Transcript:
    """The facts of the agent's output; lines of the adapter are left out."""
    reader = StreamReader()
    for stream, block in blocks:
        if stream != "status":
            (reader.feed_stderr if stream == "stderr" else reader.feed)(block)
    return reader.finish()


def output_of(recording: Recording) -> Iterator[tuple[Stream, bytes]]:
    """The agent's output and the adapter's lines in a recording. Raises as `read_stream` does."""
    if isinstance(recording, Path):
        with open_recording(recording) as source:
            yield from agent_output(source)
        return
    if isinstance(recording, (str, bytes)):
        if isinstance(recording, str) and _names_file(recording):
            raise ReplayInvalid(f"{recording!r} is the name of a file, not its content: pass a pathlib.Path")
        yield from agent_output(BytesIO(_encoded(recording)))
        return
    format_ = RecordingFormat()
    for text in recording:
        for line in recorded_lines(BytesIO(_encoded(text))):
            yield from format_.read(line if line.endswith(b"\n") else line + b"\n")
    yield from format_.finish()


def _names_file(text: str) -> bool:
    is_short = 0 < len(text) <= MAX_FILE_NAME_CHARS and text.isprintable()
    return is_short and not text.lstrip().startswith("{") and Path(text).is_file()


def _encoded(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
