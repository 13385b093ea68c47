"""Every number that several modules need, with its unit and its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in seconds that are fixed. Those an administrator may change are in the adapter's config."""

    connect: float = 5.0
    """Time limit for opening a connection to the API server; a healthy one accepts it in milliseconds."""

    request: float = 30.0
    """Time limit for one short API call, from the request to the last byte of its response."""

    watch: float = 300.0
    """How long the server may keep one watch open; jittered by a quarter, so that replicas spread out."""

    watch_silence: float = 75.0
    """A watch without any event for this long is broken: the server sends a bookmark every minute."""

    retry: float = 0.2
    """First pause before an API call is repeated; doubles, with jitter."""

    retry_cap: float = 5.0
    """Longest pause between two attempts of an API call, unless the server requests a longer one."""

    retry_budget: float = 60.0
    """Longest time for which one idempotent API call is repeated."""

    refusal_after: float = 3.0
    """If a Job has no Pod for this long, its Events are read: they say whether the Pod was refused."""

    host_file: float = 10.0
    """Time limit for reading a file of the host, such as a kubeconfig: a network volume can hang."""

    volume_files: float = 120.0
    """Time limit for packing instructions and skills, and for writing a large prompt, on the shared volume.
    Slow network volumes need 20 ms for each of 2,000 files."""

    host_links: float = 10.0
    """Time limit for following the links in a path of the host: a network volume can hang."""

    exec_plugin: float = 25.0
    """Time limit for the exec plugin of a kubeconfig; shorter than `request`, for an error of its own."""

    events_after: float = 15.0
    """If a Pod waits longer than this to start, its Events are read, to report why."""

    keepalive: float = 15.0
    """Interval of keepalive messages during the first minute without output."""

    keepalive_later: float = 60.0
    """Interval of keepalive messages after the first minute without output."""

    spawn_refresh: float = 180.0
    """Interval of `onSpawn` calls, which count as activity: hosts end a run after 5 minutes without any."""

    log_quiet: float = 30.0
    """When a log has ended and the agent has been silent for this long, Job and Pod are read directly."""

    cancel_poll: float = 15.0
    """Interval at which the Paperclip host is asked whether a run was cancelled, if it passes no `signal`."""

    stop_proof: float = 45.0
    """How long a cancel waits for certainty that the Pod is gone: the host kills this process after 60 s."""

    stop_log: float = 5.0
    """How long a stopped run searches and reads the run log, whatever an agent did to that file."""

    poll_by_name: float = 2.0
    """Interval at which a Job or Pod is read by name once the shared watch no longer selects it."""

    workspace_push: float = 240.0
    """How long after the agent's end the Pod may push its workspace and count what was not pushed; git itself
    gets 150 s for the push."""

    workspace_packing: float = 300.0
    """Time limit for packing a folder that is uploaded, and for applying the changes that come back: a slow
    network volume needs 10 ms for each of 20,000 files."""

    workspace_return: float = 1800.0
    """How long after the agent's end the host waits for the changes of an uploaded folder. Lines that
    log rotation removed are printed again after pauses of at most 15 minutes."""

    container_end: float = 5.0
    """How long after the grace period of a deleted Pod its containers may still run."""

    cleanup: float = 10.0
    """Time limit for one clean-up step. The rest is deleted later: Jobs have a TTL and own their Secret."""

    result_storing: float = 75.0
    """How long a host may take to store a run's result before its Job is kept for a later run: the Paperclip
    server gives itself 60 s."""

    model_api: float = 5.0
    """Time limit for one request to the model API, for its list of models or the usage of a subscription."""

    models_cached: float = 60.0
    """How long the live list of models is cached."""

    check: float = 10.0
    """Time limit for one request of the environment test. The requests run concurrently; a person waits."""

    probe: float = 120.0
    """How long the environment test's probe Job may take, including the image pull."""

    lease: float = 60.0
    """`leaseDurationSeconds` of this process's Lease."""

    lease_renewal: float = 20.0
    """Interval of renewals: two may fail before the Lease expires."""

    lease_expiry: float = 65.0
    """Another process's Lease that has not changed for this long, by our own clock, has expired."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and counts that are fixed."""

    instructions_bytes: int = 512 * 1024
    """Largest size of an agent's instructions, which may have to share the run Secret with the prompt."""

    bundle_bytes: int = 32 * 1024 * 1024
    """Largest size of all skills of one run, which are held in memory while they are copied."""

    bundle_entries: int = 2000
    """Largest number of files and folders in one run's skills: network volumes take milliseconds for each."""

    bridge_line_bytes: int = 16 * 1024 * 1024
    """Longest line from a Node host: twice the text that fits in the longest context window of a model."""

    bridge_line_values: int = 200_000
    """Largest number of commas and brackets outside strings in one line of a Node host: all runs wait while
    it is read."""

    kubeconfig_bytes: int = 1024 * 1024
    """Largest size of a kubeconfig, and of each file it names; one with a hundred clusters has 400 KiB."""

    kubeconfig_files: int = 100
    """Largest number of kubeconfigs that KUBECONFIG, or the setting `kubeconfig`, may name: some people keep
    a file per cluster."""

    path_bytes: int = 4096
    """Longest path that a config, a context or a kubeconfig may name: the kernel accepts no longer ones."""

    mcp_baseline_bytes: int = 256 * 1024
    """Largest size of the baseline file with MCP servers, which are part of each run's Secret."""

    response_bytes: int = 16 * 1024 * 1024
    """Largest response of the API server to one call; a page of a list has 2 MB, the largest object 3 MB."""

    response_values: int = 300_000
    """Largest number of commas and opening brackets in one response: all runs wait while it is parsed, 0.1 s
    at most. A page of a list has 200,000; a short response can contain many more."""

    watch_line_bytes: int = 4 * 1024 * 1024
    """Longest line of a watch, which is one object; etcd does not store larger ones than 1.5 MiB."""

    list_page: int = 250
    """Objects that are requested in one call of a list."""

    list_objects: int = 10_000
    """Largest number of objects of a list, and of a shared watch: Jobs or Pods of the adapter in one
    namespace."""

    list_bytes: int = 64 * 1024 * 1024
    """Largest size in JSON of the objects of a list, and of those that a shared watch keeps."""

    input_depth: int = 64
    """Deepest nesting of a config, a context or JSON text in them; a Pod template has about 12 levels."""

    input_values: int = 200_000
    """Largest number of values in a config or in a context; the largest real ones, long conversations, have
    20,000."""

    config_chars: int = 1024 * 1024
    """Largest size of all settings of a config in characters, where each value counts 32 more. All runs wait
    while they are read; the run Secret holds 1 MiB."""

    examined_chars: int = 192 * 1024
    """Largest size, counted like `config_chars`, of each setting that is searched for secrets: 1 MiB would
    take 4 s. A Job can have 1.5 MiB, one argument 128 KiB."""

    secret_search: int = 80_000_000
    """Limit for one search of secrets in texts: the characters of the texts, times the number of secrets. The
    longest real context and 30 secrets make 70 million. All runs wait during a search, for 0.2 s at most; for
    1 s, if texts and secrets repeat one character."""

    queued_events: int = 10_000
    """Largest number of events that wait for one subscriber, 5 MB at most: those of some 300 runs."""

    credentials_bytes: int = 256 * 1024
    """Largest size of the CLI's login file on the host, which usually has less than 4 KiB."""

    uploaded_bytes: int = 512 * 1024 * 1024
    """Largest sum of packed folders and large skills that one host process has in the cluster at a time: a
    quarter of what etcd holds by default. Further runs wait until others have ended."""

    launch_rounds: int = 3
    """Attempts to launch a run's Job. If the last one finds another Job in the slot, it deletes its own."""

    # ── the agent's output: see "Bounds" in docs/security.md ──────────────────────────────────────────

    log_line_bytes: int = 32 * 1024 * 1024
    """Longest line of output that is kept. Tool results with images and PDF files reach 20 MB."""

    host_chunk_bytes: int = 8 * 1024 * 1024
    """A longer line is passed to `onLog` in parts of this size, because one emoji makes a text four times as
    large in memory."""

    readable_line_bytes: int = 256 * 1024
    """Of a longer line, only the beginning becomes text for people in the host's log. To convert a line takes
    up to 0.3 s, if it consists of edits."""

    event_bytes: int = 4 * 1024 * 1024
    """Longest line that is parsed. A model's message has at most 0.5 MB, a result with denied calls 2 MB."""

    event_values: int = 500_000
    """Largest number of commas and opening brackets of a line that is parsed: each may become an object of
    100 bytes. The longest message of a model has 150,000, if it is a table."""

    repaired_values: int = 100_000
    """As `event_values`, for a line with lone surrogates or broken UTF-8, which takes ten times as long."""

    control_bytes: int = 1024 * 1024
    """Longest line in which events are searched beside terminal control sequences and other text."""

    events_per_line: int = 100
    """Largest number of events that are read from one line: a lost newline joins two lines."""

    answer_chars: int = 2 * 1024 * 1024
    """Longest answer (`summary`), four times as long as the longest message of a model."""

    text_chars: int = 4096
    """Longest text that is kept of any other field of an event."""

    name_chars: int = 256
    """Longest name of a model, version, subtype or the like."""

    id_chars: int = 128
    """Longest id of a session, message, task or tool call. The CLI's ids have at most 40 characters."""

    remembered_ids: int = 10_000
    """Ids of one kind (messages, results, tasks, calls) that are remembered; the oldest are forgotten."""

    message_chars: int = 16 * 1024
    """Longest `errorMessage`, which may quote the CLI, Kubernetes and a kubeconfig."""

    warnings: int = 50
    """Largest number of warnings in `resultJson`, each of at most `text_chars` characters."""

    result_json_bytes: int = 256 * 1024
    """Largest size of the CLI's fields in `resultJson`; the host stores it in a database row."""

    result_json_depth: int = 32
    """Deepest nesting of the CLI's fields in `resultJson`. Structured output of real agents has about 10."""

    cost_usd: float = 1e6
    """Highest cost that is accepted. A cost below 0 or above this counts as unknown."""

    tokens: int = 10**12
    """Highest number of tokens that is accepted: 1,000 times what the largest known run used."""

    retry_days: int = 8
    """Latest retry time that is accepted, in days from now: usage limits reset every week."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Sizes and counts of folders that are uploaded, and of the changes that come back."""

    bytes: int = 512 * 1024 * 1024
    """Largest `uploadLimit`: all files of a folder that is uploaded, and all that an agent changes in it."""

    packed_bytes: int = 96 * 1024 * 1024
    """Largest size of a packed folder. Its parts are Secrets, which etcd keeps until the run has ended; etcd
    holds 2 GiB by default."""

    part_bytes: int = 700_000
    """Largest part of a packed folder: a Secret may have 1 MiB, and a request of more than 1 MiB, in base64,
    would be sent in one piece while all runs wait."""

    entries: int = 20_000
    """Largest number of files and folders that are uploaded, and of changes that come back."""

    depth: int = 64
    """Deepest nesting of folders that are uploaded or come back."""

    path_bytes: int = 4000
    """Longest path below the folder; the kernel accepts paths of 4,096 bytes."""

    list_bytes: int = 32 * 1024 * 1024
    """Largest list of all paths; it is held in memory. With 20,000 files, 1,600 bytes for each."""

    reported_paths: int = 20
    """Largest number of paths of one kind that a report about changes names."""

    ignore_patterns: int = 2000
    """Largest number of patterns that are compared with one path: those of the `.gitignore` files in all
    folders above it."""


LIMITS = Limits()
"""For modules without access to `ProcessSettings`."""
UPLOAD_LIMITS = UploadLimits()
