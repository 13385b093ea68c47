"""Names in our objects: labels, annotations, the agent's container and mount, keys of the run Secret."""

from collections.abc import Mapping

ADAPTER_TYPE = "claude_k8s"
PREFIX = "paperclip.io/"
RESERVED_PREFIXES = (PREFIX, "app.kubernetes.io/")
AGENT_CONTAINER = "claude"
SHARED_MOUNT = "/paperclip"
"""Where the Paperclip host and the agents mount the shared volume."""
JOB_NAME_LABEL = "job-name"
"""Label that the Job controller sets on each Pod of a Job, in every version of Kubernetes."""
CONTROLLER_UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")
"""Labels in a Job's selector: the Job controller releases a Pod that loses them."""

AGENT_LABEL = f"{PREFIX}agent-id"
RUN_LABEL = f"{PREFIX}run-id"
TASK_LABEL = f"{PREFIX}task-id"
SESSION_LABEL = f"{PREFIX}session-id"
COMPANY_LABEL = f"{PREFIX}company-id"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's label for the queue that suspends and admits a Job."""
ADAPTER_LABEL = f"{PREFIX}adapter-type"
CLAIM_PER_LABEL = f"{PREFIX}session-volume-per"
"""On a claim that the adapter created: whether it belongs to an `agent` or to a `company`."""
SESSION_CLAIM_LABEL = f"{PREFIX}session-claim"
"""On Jobs and Pods: the claim with the agent's sessions, by which Pods of one claim find the same node."""

LAST_USED_ANNOTATION = f"{PREFIX}last-used"
"""On a claim that the adapter created: when a run last began to use it."""
LAST_RUN_ANNOTATION = f"{PREFIX}last-run"
"""On such a claim: the run that did so."""
NONCE_ANNOTATION = f"{PREFIX}relay-nonce"
WAKE_ANNOTATION = f"{PREFIX}wake-digest"
TAKEN_ANNOTATION = f"{PREFIX}result-taken"
"""Value: when a run took the result of the Job, which no later run may take again."""
CANCELLED_ANNOTATION = f"{PREFIX}cancelled-by"
"""Value: who cancels the run of a Job, set before that person's `claude-k8s cancel` deletes the Job."""
RESULT_ANNOTATION = f"{PREFIX}result"
"""JSON with code, model, cost and tokens of the run, on a Job that is kept after its end."""
HOLDER_ANNOTATION = f"{PREFIX}holder"
HOLDER_SEEN_ANNOTATION = f"{PREFIX}holder-seen"
DETACHED_ANNOTATION = f"{PREFIX}detached"
"""Value `detached:RUN`: the Job belongs to that run as long as it exists, even if its creator has ended."""
RUN_LOG_ANNOTATION = f"{PREFIX}run-log"
STAGED_ANNOTATION = f"{PREFIX}staged-files"
UPLOAD_ANNOTATION = f"{PREFIX}uploaded-folder"
"""On a Job: the mark of the host's folder that was uploaded into it; see `plan.upload_parts`."""
CHANGES_TAKEN_ANNOTATION = f"{PREFIX}changes-taken"
"""On such a Job: a host has applied what the agent changed in the folder."""
UNGATED_ANNOTATION = f"{PREFIX}ungated"
"""The Pod starts without a run Secret, so a missing Secret does not prove that the Job never started."""
AGENT_POD_ANNOTATION = f"{PREFIX}agent-pod"
"""Value `NAME/UID`: the only Pod of the Job that may run the agent. Absent while any Pod may start it."""
TRACE_ANNOTATION = f"{PREFIX}traceparent"
"""The trace context of the run that created the Job."""
AGENT_NAME_ANNOTATION = f"{PREFIX}agent-name"
ONLY_POD_KEY = "only-pod"
"""Key in the run Secret. Value: uid of the only Pod that may run the agent; read when a container starts."""

ALL_OURS: Mapping[str, str] = {ADAPTER_LABEL: ADAPTER_TYPE}
"""Selects every Job, Pod and Lease of this adapter in a namespace."""


def json_pointer(*names: str) -> str:
    """JSON pointer (RFC 6901) to a field, with the slashes in names of labels and annotations escaped."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
