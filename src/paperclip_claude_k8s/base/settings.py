"""Every number more than one module needs, once, with its unit and its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in seconds. Budgets an operator may change live in the config; these are the house's own."""

    connect: float = 5.0
    """Opening a connection to the API server; a healthy one answers in milliseconds."""

    request: float = 30.0
    """One short API call, from first byte to last; the client library itself has no limit at all."""

    watch: float = 300.0
    """How long the server may keep one watch open; jittered by a quarter, so that replicas spread out."""

    watch_silence: float = 75.0
    """A watch that brought nothing for so long, not even a bookmark (one a minute), is dead."""

    retry: float = 0.2
    """First pause before an API call is tried again; doubles with full jitter."""

    retry_cap: float = 5.0
    """Longest single pause between two tries of an API call."""

    retry_budget: float = 60.0
    """Total time one safe API call may be retried before its room gives up."""

    events_after: float = 15.0
    """A Pod that waits longer than this gets its Events read, so that the log says why."""

    keepalive: float = 15.0
    """Silence after which the host is told that the Job still runs; the same step in the first minute."""

    keepalive_later: float = 60.0
    """Step of the keepalive after the first minute of silence."""

    spawn_refresh: float = 180.0
    """How often `onSpawn` repeats; hosts reap a run that was not touched for five minutes."""

    log_over: float = 30.0
    """A log that ended and brought nothing for so long is a reason to read Job and Pod once (SPEC 9)."""

    cancel_poll: float = 15.0
    """Step of the shared question to the host whether a run was cancelled, where no signal exists."""

    stop_proof: float = 45.0
    """After a cancel: how long we wait for proof that the Pod is gone; the host itself waits 60 s."""

    look_by_name: float = 2.0
    """Step of reading a Job or Pod that lost the labels by which the shared watch finds it."""

    container_end: float = 5.0
    """What a kubelet may need beyond a Pod's grace period to end the containers of a Pod that is gone."""

    tidy: float = 10.0
    """Bound on tidying up; a Job left behind has a TTL and an owner for its Secret."""

    anthropic: float = 5.0
    """One question to the model API: its list of models, or what a subscription has used."""

    models_known: float = 60.0
    """How long the live list of models is believed before it is asked for again."""
    check: float = 10.0
    """One look of the environment test: an operator waits for all of them at once."""

    probe: float = 120.0
    """How long the environment test's own Job may take, image pull included."""

    lease: float = 60.0
    """Duration written into a Lease of ours."""

    lease_renewal: float = 20.0
    """Step of renewing it: two may fail before anybody doubts us."""

    lease_expiry: float = 65.0
    """Unseen for so long by our own clock, another's Lease counts as expired."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and counts that something outside of us imposes."""

    instructions_bytes: int = 512 * 1024
    """An agent's instructions: they may have to share the run Secret with the prompt."""

    bundle_bytes: int = 32 * 1024 * 1024
    """All skills of one run, which are held in memory while they are copied."""

    bundle_entries: int = 2000
    """Files and folders of all skills of one run: network volumes take milliseconds for each."""

    gate_rounds: int = 3
    """How often a run steps back from a slot it found taken at the gate before it gives up."""
