"""What is written down of one run, so that any shell can go on with it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from paperclip_claude_k8s.cli.runs.replies import Answer, RunStatus
from paperclip_claude_k8s.host.redact import MASK, holds_secret, is_secret_name

VERSION = 1
"""Of the file format; a higher one was written by a newer claude-k8s."""
Phase = Literal["reserved", "submitting", "polling", "ended"]
"""Announced by `spawn`; no Job yet, as far as is known; the Job exists; the result is in the record."""
Gate = Literal["", "asking", "granted"]
"""The quota gate: none was asked yet; asked, and no answer heard; passed."""


@dataclass(frozen=True, slots=True)
class JobPart:
    """One Job of the run, and where its output begins in the run's files, in bytes."""

    uid: str
    name: str
    stdout: int = 0
    stderr: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster: the API server's address and a digest of it, since some addresses hold a token."""

    server: str = ""
    digest: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """`request` is what `execute` gets, without callbacks; `outcome` the answer of an ended run."""

    run_id: str
    created: str
    request: Mapping[str, Any] = field(repr=False)
    phase: Phase = "submitting"
    updated: str = ""
    gate: Gate = ""
    place: Place = field(default_factory=Place)
    embedded: bool = False
    """On a development cluster that lives inside of the shell, and ends with it."""
    jobs: tuple[JobPart, ...] = ()
    position: int = 0
    """How far the agent's output was saved when this was written, in bytes."""
    outcome: Answer | None = None
    tidied: bool = True
    """Whether the Job of an ended run was seen off; the shell may have been killed between the two."""

    @property
    def status(self) -> str:
        return str(self.outcome["status"]) if self.outcome is not None else "polling"

    def part(self, uid: str) -> JobPart | None:
        return next((job for job in self.jobs if job.uid == uid), None)

    def with_part(self, part: JobPart) -> "Record":
        others = tuple(job for job in self.jobs if job.uid != part.uid)
        return replace(self, jobs=(*others, part))

    def submitted(self) -> "Record":
        """Its Job exists: the request's secrets are needed no more, unless a second attempt may follow."""
        kept = self.request if _resumes(self.request) else without_secrets(self.request)
        return replace(self, phase="polling", request=kept)

    def again(self) -> "Record":
        """Its session is lost: a Job with a fresh one is to be made."""
        return replace(self, phase="submitting", request={**self.request, "runtime": {}})

    def ended(self, outcome: Answer, *, tidied: bool) -> "Record":
        return replace(
            self, phase="ended", outcome=outcome, tidied=tidied, request=without_secrets(self.request)
        )

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, "status": self.status, **asdict(self)}


def run_status_of(record: Record) -> RunStatus:
    """What is written down of a run that has no outcome."""
    if record.phase == "reserved":
        return "not_submitted"
    return "unknown" if record.phase == "submitting" else "polling"


class NotARecord(ValueError):
    """The JSON is no record of ours; the message completes "the record ..."."""


def read_record(told: object) -> Record:
    """Raises `NotARecord`."""
    if not isinstance(told, dict):
        raise NotARecord("is no JSON object")
    version = told.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NotARecord(f"was written by a newer claude-k8s (format {version}, this one reads {VERSION})")
    if version != VERSION:
        raise NotARecord(f"has no known format (version {version!r})")
    known = {name.name for name in fields(Record)}
    try:
        return Record(
            **{key: value for key, value in told.items() if key in known - {"place", "jobs"}},
            place=Place(**told["place"]),
            jobs=tuple(JobPart(**job) for job in told["jobs"]),
        )
    except (KeyError, TypeError) as error:
        raise NotARecord(f"is damaged: {error}") from None


def without_secrets(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with every value masked that its name or its shape gives away; the prompt stays."""
    masked = {**request, "config": _masked(request.get("config", {}))}
    return {key: value for key, value in masked.items() if key != "authToken"}


def _masked(value: Any, name: str = "") -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, Mapping):
        return {key: _masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, name) for item in value]
    if isinstance(value, str) and (is_secret_name(name) or holds_secret(value)):
        return MASK
    return value


def _resumes(request: Mapping[str, Any]) -> bool:
    return bool((request.get("runtime") or {}).get("sessionId"))
