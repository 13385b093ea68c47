"""The words by which our objects are found in a cluster: labels, annotations, the container's name."""

from collections.abc import Mapping

ADAPTER_TYPE = "claude_k8s"
PREFIX = "paperclip.io/"
RESERVED_PREFIXES = (PREFIX, "app.kubernetes.io/")
AGENT_CONTAINER = "claude"
JOB_NAME_LABEL = "job-name"
"""Set by the Job controller on each Pod of a Job, by every version of Kubernetes."""
CONTROLLER_UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")
"""By these a Job's selector finds its Pods: without them the Job controller releases a Pod."""

AGENT_LABEL = f"{PREFIX}agent-id"
RUN_LABEL = f"{PREFIX}run-id"
TASK_LABEL = f"{PREFIX}task-id"
SESSION_LABEL = f"{PREFIX}session-id"
COMPANY_LABEL = f"{PREFIX}company-id"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Names the queue that suspends and admits a Job."""
ADAPTER_LABEL = f"{PREFIX}adapter-type"

NONCE_ANNOTATION = f"{PREFIX}relay-nonce"
WAKE_ANNOTATION = f"{PREFIX}wake-digest"
TAKEN_ANNOTATION = f"{PREFIX}result-taken"
HOLDER_ANNOTATION = f"{PREFIX}holder"
HOLDER_SEEN_ANNOTATION = f"{PREFIX}holder-seen"
DETACHED_ANNOTATION = f"{PREFIX}detached"
"""Value `detached:RUN`: held for that run while the Job exists, whatever becomes of who made it."""
RUN_LOG_ANNOTATION = f"{PREFIX}run-log"
STAGED_ANNOTATION = f"{PREFIX}staged-files"
UNGATED_ANNOTATION = f"{PREFIX}ungated"
"""The Pod starts without a run Secret: its absence does not prove that the Job was never opened."""
AGENT_POD_ANNOTATION = f"{PREFIX}agent-pod"
"""Value `NAME/UID`: the only Pod of the Job that may run the agent, once another must not be started."""
AGENT_NAME_ANNOTATION = f"{PREFIX}agent-name"
ONLY_POD_KEY = "only-pod"
"""Key of the run Secret: uid of the only Pod that may run the agent, read as its container starts."""

ALL_OURS: Mapping[str, str] = {ADAPTER_LABEL: ADAPTER_TYPE}
"""Finds every Job and Pod of this adapter in a namespace."""


def json_pointer(*names: str) -> str:
    """JSON pointer (RFC 6901) to a field; labels and annotations have slashes in their names."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
