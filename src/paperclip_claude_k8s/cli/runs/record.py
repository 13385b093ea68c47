"""The record of one run, from which any later command can continue the run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.cli.runs.replies import Reply, RunStatus, cancel_command, failure, resumable
from paperclip_claude_k8s.host.config import FORM_ENV
from paperclip_claude_k8s.host.known_secrets import mask_tree
from paperclip_claude_k8s.host.redact import (
    MASK,
    VALUES_ARE_SECRET,
    is_secret_name,
    mask_credentials,
    redact_command,
    redact_text,
)
from paperclip_claude_k8s.host.validators import is_reference, read_variables

VERSION = 1
"""Version of the file format. A file with a higher version was written by a newer claude-k8s."""
RENAMED = {"target": "place", "quota": "gate", "cleaned_up": "tidied"}
"""Field → its key in `record.json`, where they differ. The keys stay, so that older records can be read."""
Phase = Literal["reserved", "submitting", "polling", "ended"]
"""reserved: not submitted. submitting: a Job may exist. polling: a Job exists. ended: the run ended."""
QuotaState = Literal["", "asking", "granted"]
"""Empty: no request was sent. asking: the response is unknown. granted: the quota gate approved the run."""


@dataclass(frozen=True, slots=True)
class JobPart:
    """One Job of the run, and the offsets in bytes at which its output begins in the run's files."""

    uid: str
    name: str
    stdout: int = 0
    """Where its stdout begins in the transcript."""
    stderr: int = 0
    """Where its stderr begins in the file `stderr`."""


@dataclass(frozen=True, slots=True)
class RunTarget:
    """Cluster and namespace of a run.

    Clusters are compared by `digest`, a hash of the API server's URL, because some URLs contain a token.
    `server` is scheme, host and port only, for messages.
    """

    server: str = ""
    digest: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that is known of a run, as in `record.json`; some keys differ there, see `RENAMED`."""

    run_id: str
    created: str
    request: Mapping[str, Any] = field(repr=False)
    """The context for `execute`, without callbacks."""
    phase: Phase = "submitting"
    updated: str = ""
    quota: QuotaState = ""
    target: RunTarget = field(default_factory=RunTarget)
    embedded: bool = False
    """The run is on a development cluster that is embedded in the command's process and ends with it."""
    jobs: tuple[JobPart, ...] = ()
    position: int = 0
    """Bytes of the agent's stdout in the transcript at the time at which the record was written."""
    outcome: Reply | None = None
    """The reply that reports how the run ended; None until then."""
    grants: Mapping[str, list[str]] = field(default_factory=dict)
    """Additions to the policy for the person who started the run, see `cli/grants.py`."""
    cleaned_up: bool = True
    """False if the run has ended and its Job has not been deleted yet."""

    @property
    def status(self) -> str:
        return str(self.outcome["status"]) if self.outcome is not None else "polling"

    @property
    def run_status(self) -> RunStatus:
        """The state of a run without an outcome, as far as the record shows it."""
        if self.phase == "reserved":
            return "not_submitted"
        return "unknown" if self.phase == "submitting" else "polling"

    @property
    def resumes_session(self) -> bool:
        """Whether the run continues an earlier session."""
        return bool((self.request.get("runtime") or {}).get("sessionId"))

    @property
    def kubeconfig(self) -> str | None:
        path = self.request["config"].get("kubeconfig")
        return str(path) if path else None

    @property
    def context(self) -> str | None:
        """The context of the kubeconfig; None for its current one, or without a kubeconfig."""
        name = self.request["config"].get("kubeContext")
        return str(name) if name else None

    def with_cluster(self, kubeconfig: str | None, context: str | None) -> "Record":
        """The record with another kubeconfig or context; None keeps the recorded value."""
        given = {"kubeconfig": kubeconfig, "kubeContext": context}
        config = {**self.request["config"], **{key: value for key, value in given.items() if value}}
        return replace(self, request={**self.request, "config": config})

    def part(self, uid: str) -> JobPart | None:
        """The part of the Job with this uid, if the record has one."""
        return next((job for job in self.jobs if job.uid == uid), None)

    def with_part(self, part: JobPart) -> "Record":
        others = tuple(job for job in self.jobs if job.uid != part.uid)
        return replace(self, jobs=(*others, part))

    def submitted(self) -> "Record":
        """The record after the Job was created: without secrets, unless a second attempt may need them."""
        request = self.request if self.resumes_session else redact_request(self.request)
        return replace(self, phase="polling", request=request)

    def with_fresh_session(self) -> "Record":
        """The record before the second attempt, which begins a new session because the old one was lost."""
        return replace(self, phase="submitting", request={**self.request, "runtime": {}})

    def ended(self, outcome: Reply, *, cleaned_up: bool) -> "Record":
        """The record after the end of the run, without secrets."""
        request = redact_request(self.request)
        return replace(self, phase="ended", outcome=outcome, cleaned_up=cleaned_up, request=request)

    def to_json(self) -> dict[str, Any]:
        content = {RENAMED.get(name, name): value for name, value in asdict(self).items()}
        return {"version": VERSION, "status": self.status, **content}


class RecordInvalid(ValueError):
    """The JSON is not a record of this version. The message completes "the record ..."."""


def read_record(content: object) -> Record:
    """The record from the JSON of `record.json`. Raises `RecordInvalid`."""
    if not isinstance(content, dict):
        raise RecordInvalid("is not a JSON object")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise RecordInvalid(f"was written by a newer claude-k8s (format {version}, this one reads {VERSION})")
    if version != VERSION:
        raise RecordInvalid(f"has an unknown format (version {version!r})")
    keys = {item.name: RENAMED.get(item.name, item.name) for item in fields(Record)}
    try:
        values = {name: content[key] for name, key in keys.items() if key in content}
        values["target"] = RunTarget(**content["place"])
        values["jobs"] = tuple(JobPart(**job) for job in content["jobs"])
        return Record(**values)
    except (KeyError, TypeError) as error:
        raise RecordInvalid(f"is damaged: {error}") from None


def polling_reply(record: Record) -> Reply:
    """The reply about a run that has not ended."""
    job = record.jobs[-1].name if record.jobs else None
    reply = {"run_id": record.run_id, "status": "polling", "job": job, "namespace": record.target.namespace}
    return resumable(reply)


def cut_short_fields(record: Record) -> Reply:
    """Fields for the reply of a wait that was cut short: what the run does now, and how to cancel it."""
    if record.run_status == "not_submitted":
        return {"status": "failed", "run_status": "not_submitted", "detail": "nothing was submitted"}
    known: Reply = {"status": "polling", "run_status": record.run_status}
    cancel = {"cancel": cancel_command(record.run_id)}
    if not record.jobs:
        return {**known, **cancel, "detail": "the run may have a Job, whose agent then works on"}
    job, namespace = record.jobs[-1].name, record.target.namespace
    detail = (
        f"the agent works on in Job {job}, and costs money until {_natural_end(record)} or it is cancelled"
    )
    return {**known, "job": job, "namespace": namespace, **cancel, "detail": detail}


def _natural_end(record: Record) -> str:
    limit = record.request["config"].get("timeoutSec")
    return f"it ends by itself, timeoutSec ({limit} s) is over" if limit else "it ends by itself"


def lost_reply(record: Record) -> Reply:
    """The reply about a run whose Job does not exist any more and whose result is not in the record."""
    reason = "the run's result was never collected: its Job was deleted or its TTL expired"
    if record.embedded:
        reason = "the development cluster of this run was embedded in the command and ended with it"
    return failure("result_lost", f"{reason}; start a new run", record.run_id)


_ENV_KEYS = frozenset({"env", FORM_ENV})
"""Settings that contain environment variables. If they are texts, they are JSON or lines NAME=value."""
_WITH_VARIABLES = frozenset({"mcpServers", "podTemplate"})
"""Settings whose text is the JSON of an object that may contain variables."""
_CLUSTER_KEYS = ("kubeconfig", "kubeContext", "namespace")
"""Settings that name where the run is. A later command needs them as they are, whatever they look like."""
_SWITCHES = frozenset({"", "0", "1", "true", "false", "yes", "no", "on", "off"})
"""Values of variables that are not masked: they are no secrets, and choose for example the way of billing."""


def redact_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request without the values of variables and headers, and without other secrets.

    The other secrets are recognised by their name, their shape, or the command-line option in front of
    them. The prompt stays.
    """
    config = {
        key: _read_text(key, value) if isinstance(value, str) else value
        for key, value in request.get("config", {}).items()
    }
    named = {key: config[key] for key in _CLUSTER_KEYS if key in config}
    redacted = {**request, "config": {**_redact(config), **named}}
    return {key: value for key, value in redacted.items() if key != "authToken"}


def _read_text(key: str, text: str) -> Any:  # noqa: ANN401  # the setting, as text or as an object
    """The value of a setting that is given as text: an object if the text may contain variables.

    {} if the text cannot be read as such an object.
    """
    try:
        if key in _ENV_KEYS:
            return dict(read_variables(text))
        return json.loads(text) if to_camel(key) in _WITH_VARIABLES and text.strip() else text
    except (ValueError, RecursionError):
        return {}


def _redact(value: Any, name: str = "", *, hidden: bool = False) -> Any:  # noqa: ANN401  # any JSON
    """`name`: the key that has the value. `hidden`: each text in the value is a secret."""
    if is_reference(value):
        return mask_tree(dict(value), ())  # a continued run compares the reference's names with the policy
    if isinstance(value, Mapping):
        inner = hidden or name in VALUES_ARE_SECRET | _ENV_KEYS
        redacted = {key: _redact(item, str(key), hidden=inner) for key, item in value.items()}
        if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):  # a variable in a list
            redacted |= {"name": value["name"], "value": _masked(value["value"])}
        return redacted
    if isinstance(value, list):
        if not hidden and all(isinstance(item, str) for item in value):
            return redact_command(value)
        return [_redact(item, name, hidden=hidden) for item in value]
    return _redact_text(value, name, hidden=hidden) if isinstance(value, str) else value


def _redact_text(text: str, name: str, *, hidden: bool) -> str:
    if hidden or is_secret_name(name):
        return _masked(text)
    return redact_text(text) if name == "extraArgs" else mask_credentials(text)


def _masked(text: str) -> str:
    return text if text.lower() in _SWITCHES else MASK
