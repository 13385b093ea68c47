"""Builds what a host passes to `execute`."""

from typing import Any

from paperclip_claude_k8s.testing.host_log import HostLog


def build_context(host_log: HostLog, **fields: Any) -> dict[str, Any]:  # noqa: ANN401  # fields of the wire
    """A valid context for a run on a cluster in memory; `host_log` receives the agent's output.

    `fields` replaces entries, such as `runId` or `context`. Its `config` is added to the default config.
    """
    config = {"kubeconfig": "fake", "image": "x", **fields.pop("config", {})}
    return {
        "runId": "run-1",
        "agent": {"id": "agent-1", "companyId": "co"},
        "config": config,
        "context": {"taskId": "task-1"},
        "onLog": host_log.on_log,
        **fields,
    }
