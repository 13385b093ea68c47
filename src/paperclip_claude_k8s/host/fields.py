"""Every setting as a person sees it: one table for the host's form and the agents' guide (HOST.md 6.4)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from paperclip_claude_k8s.host.config import FORM_ENV, AdapterConfig, operator_name

Kind: TypeAlias = Literal["text", "select", "toggle", "number", "textarea", "combobox"]
"""How the host's form shows a setting; its values arrive as strings but for toggles and numbers."""

_MAP, _LIST, _OBJECT = "map of strings", "list of strings", "object"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `name` is its field of `AdapterConfig`; `shape` is what a text or a combobox holds.

    `form_key` is set where the form must write another key, `form_hint` is said in the form only.
    """

    name: str
    group: str
    label: str
    hint: str
    kind: Kind = "text"
    options: tuple[str, ...] = ()
    shape: str = "string"
    form_key: str = ""
    form_hint: str = ""

    @property
    def key(self) -> str:
        """What an operator writes into the config."""
        return operator_name(AdapterConfig.model_fields[self.name].alias or self.name)


def _agent() -> tuple[Setting, ...]:
    group = "Agent"
    lists = "A JSON list or words separated by blanks."
    efforts = ("low", "medium", "high", "xhigh", "max")
    return (
        Setting("model", group, "Model", "Model id; empty: the CLI's own choice.", "combobox"),
        Setting(
            "effort", group, "Effort", "Given to the CLI's --effort; empty: its own.", "combobox", efforts
        ),
        Setting("cwd", group, "Working folder", "Used where the workspace is not on the shared volume."),
        Setting(
            "instructions_file_path",
            group,
            "Instructions file",
            "Path of the agent's instructions on the host.",
        ),
        Setting("prompt_template", group, "Prompt template", "Empty: the built-in one.", "textarea"),
        Setting(
            "bootstrap_prompt_template",
            group,
            "Bootstrap template",
            "Put before the prompt when a session starts.",
            "textarea",
        ),
        Setting(
            "max_turns_per_run",
            group,
            "Turns per run",
            "The host continues a run that used them up; 0: no limit.",
            "number",
        ),
        Setting(
            "dangerously_skip_permissions",
            group,
            "Skip permission prompts",
            "Nobody can answer them in a Job. As root the CLI takes a list of tools instead.",
            "toggle",
        ),
        Setting(
            "allowed_tools", group, "Allowed tools", f"For --allowedTools. {lists}", "textarea", shape=_LIST
        ),
        Setting(
            "extra_args",
            group,
            "Extra arguments",
            f"Appended to the CLI's command line. {lists}",
            shape=_LIST,
        ),
        Setting(
            "env",
            group,
            "Environment",
            "Variables of the agent: NAME=value lines or a JSON object.",
            "textarea",
            shape=_MAP,
            form_key=FORM_ENV,
            form_hint="No secrets here: they are bound in the agent's environment.",
        ),
        Setting(
            "mcp_servers", group, "MCP servers", "JSON object of servers by name.", "textarea", shape=_OBJECT
        ),
    )


def _cluster() -> tuple[Setting, ...]:
    group = "Cluster"
    pulls = ("IfNotPresent", "Always", "Never")
    return (
        Setting("namespace", group, "Namespace", "Empty: that of the home pod."),
        Setting("image", group, "Image", "Needs sh and claude on its PATH. Empty: that of the home pod."),
        Setting(
            "image_pull_policy", group, "Image pull policy", "When the image is pulled.", "select", pulls
        ),
        Setting("kubeconfig", group, "Kubeconfig", "Path on the host. Empty: the cluster the host runs in."),
        Setting(
            "service_account_name", group, "Service account", "Mounts its token. Empty: none is mounted."
        ),
        Setting(
            "runtime_class_name", group, "Runtime class", "Such as gvisor. Empty: the cluster's default."
        ),
        Setting("priority_class_name", group, "Priority class", "Empty: the cluster's default."),
        Setting("queue_name", group, "Kueue queue", "The Job waits, suspended, until this queue admits it."),
        Setting("cpu_request", group, "CPU request", "What the scheduler keeps free for the agent."),
        Setting("memory_request", group, "Memory request", "What the scheduler keeps free for the agent."),
        Setting("cpu_limit", group, "CPU limit", "The agent is slowed down beyond it."),
        Setting("memory_limit", group, "Memory limit", "The agent is killed beyond it."),
        Setting(
            "node_selector",
            group,
            "Node selector",
            "key=value lines or JSON. Empty: the home pod's.",
            "textarea",
            shape=_MAP,
        ),
        Setting(
            "labels",
            group,
            "Labels",
            "Further labels of Job and Pod; key=value lines or JSON.",
            "textarea",
            shape=_MAP,
        ),
        Setting(
            "tolerations",
            group,
            "Tolerations",
            "JSON list. Empty: the home pod's.",
            "textarea",
            shape="list of objects",
        ),
        Setting(
            "pod_template",
            group,
            "Pod template",
            "JSON laid over the Pod's template, last.",
            "textarea",
            shape=_OBJECT,
        ),
        Setting(
            "run_as_user", group, "User id", "0 is root; the restricted Pod profile refuses it.", "number"
        ),
    )


def _life() -> tuple[Setting, ...]:
    group = "Life of a run"
    return (
        Setting("timeout_sec", group, "Timeout (s)", "From the container's start; 0: none.", "number"),
        Setting("grace_sec", group, "Grace (s)", "Slack of the cluster's own backstop deadline.", "number"),
        Setting("stop_grace_sec", group, "Stop grace (s)", "Between SIGTERM and SIGKILL.", "number"),
        Setting(
            "result_grace_sec",
            group,
            "Result grace (s)",
            "For Claude to exit once its final result is printed; then it is stopped. 0: it never is.",
            "number",
        ),
        Setting("schedule_timeout_sec", group, "Schedule timeout (s)", "Until the Pod has a node.", "number"),
        Setting(
            "image_pull_timeout_sec", group, "Image pull timeout (s)", "Until the image is there.", "number"
        ),
        Setting(
            "start_timeout_sec", group, "Start timeout (s)", "Until the agent's container runs.", "number"
        ),
        Setting(
            "terminating_wait_sec",
            group,
            "Wait for leaving Jobs (s)",
            "Until Pods of deleted Jobs are gone.",
            "number",
        ),
        Setting(
            "concurrency_wait_sec",
            group,
            "Wait for the slot (s)",
            "While another run of the agent lives.",
            "number",
        ),
        Setting(
            "concurrency_scope",
            group,
            "One run per",
            "What excludes a second run.",
            "select",
            ("agent", "task"),
        ),
        Setting(
            "ttl_seconds_after_finished",
            group,
            "Keep finished Jobs (s)",
            "Only where the host died.",
            "number",
        ),
        Setting("retain_jobs", group, "Retain Jobs", "Leave finished Jobs in the cluster.", "toggle"),
        Setting(
            "reattach_orphaned_jobs",
            group,
            "Re-attach to orphaned Jobs",
            "Take over a Job whose host process is gone, instead of refusing the run.",
            "toggle",
        ),
        Setting(
            "protect_from_eviction", group, "Protect from autoscalers", "Annotations on the Pod.", "toggle"
        ),
        Setting(
            "refresh_on_spawn",
            group,
            "Refresh onSpawn",
            "Keeps older hosts from reaping a long run.",
            "toggle",
        ),
        Setting(
            "continuation_marker",
            group,
            "Continuation marker",
            "Lets the host retry a run that had started.",
            "toggle",
        ),
    )


def _files() -> tuple[Setting, ...]:
    group = "Files and logs"
    return (
        Setting(
            "shared_volume_dir", group, "Shared volume", "Where it is mounted on the host. Empty: /paperclip."
        ),
        Setting(
            "tee_run_log",
            group,
            "Output on the shared volume",
            "Fills gaps in the log; auto: where that volume is mounted here too.",
            "select",
            ("auto", "true", "false"),
        ),
        Setting("retain_run_logs", group, "Retain run logs", "Keep those of good runs as well.", "toggle"),
        Setting("log_size_limit", group, "Output limit", "The agent is ended when it prints more."),
        Setting(
            "prompt_delivery",
            group,
            "Prompt delivery",
            "Through a Secret, or an init container.",
            "select",
            ("secret", "init"),
        ),
    )


def _extras() -> tuple[Setting, ...]:
    group = "Extras"
    return (
        Setting("enable_rtk", group, "Cut long tool output", "A hook in the agent's own settings.", "toggle"),
        Setting(
            "rtk_max_output_bytes", group, "Tool output limit (bytes)", "Beyond it, output is cut.", "number"
        ),
        Setting("enable_docker", group, "Docker sidecar", "Privileged: not for shared clusters.", "toggle"),
        Setting("docker_image", group, "Docker image", "Of that sidecar."),
        Setting(
            "quota_gate_url",
            group,
            "Quota gate",
            "Asked by the command line before each new run.",
        ),
    )


SETTINGS = (*_agent(), *_cluster(), *_life(), *_files(), *_extras())
"""In the order of the form."""
