"""The message of every error code, word for word: what happened, the cluster's message, the next step."""

import pytest

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.claude.classification import ClassifiedFailure, FailureClass
from paperclip_claude_k8s.claude.failure_texts import EMPTY_REPLY, build_partial_run_error, truncated_message
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.docs.error_reference import read_descriptions
from paperclip_claude_k8s.error_codes import ErrorCode
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.policy import Refusal

FORBIDDEN = ClusterError(403, "Forbidden", 'User "sa" cannot create resource "jobs" in API group "batch"')
QUOTA = ClusterError(
    403, "Forbidden", "exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4"
)
INVALID = ClusterError(422, "Invalid", "spec.template.spec.tolerations[0].operator: Invalid value")
DOWN = ClusterError(None, "Unreachable", "GET /apis/batch/v1/namespaces/ns/jobs: Connection refused")
FAILED = "Claude run failed: "


def reported(failure_class: FailureClass, text: str) -> Failure:
    """A failure that Claude Code reported with this text."""
    return failures.reported_by_claude(ClassifiedFailure(failure_class, text), FAILED + text)


GOLDEN: list[tuple[Failure, str]] = [
    (
        failures.config_invalid("config.timeoutSec: expected a number of seconds, got 'soon'"),
        "Invalid configuration: config.timeoutSec: expected a number of seconds, got 'soon' — correct it and run the agent again",
    ),
    (
        failures.policy_refused(
            Refusal("kubeconfig", "it runs the command aws", "execPlugins"),
            Refusal("podTemplate.spec.hostPID", "the Pod shares the node's processes", "hostNamespaces"),
        ),
        "Not allowed by this host's policy: kubeconfig: it runs the command aws; podTemplate.spec.hostPID: the Pod shares the node's processes — change the config, or have the administrator of this host allow it (execPlugins, hostNamespaces in the file named by CLAUDE_K8S_POLICY)",
    ),
    (
        failures.policy_refused(Refusal("instructionsFilePath", "it is below /proc", "")),
        "Not allowed by this host's policy: instructionsFilePath: it is below /proc — change the config",
    ),
    (
        failures.policy_unusable("/etc/policy.yaml: images: expected a list"),
        "This host's policy cannot be used: /etc/policy.yaml: images: expected a list — have the administrator of this host correct the file named by CLAUDE_K8S_POLICY and restart the host",
    ),
    (
        failures.agent_id_invalid("///"),
        "Agent id '///' has no ASCII letter or digit, so it gives no Kubernetes label — use an id with at least one letter or digit",
    ),
    (
        failures.server_too_old("enableDocker", (1, 29), (1, 20)),
        "Invalid configuration: enableDocker needs Kubernetes 1.29 or newer, this cluster has 1.20 — leave enableDocker out, or upgrade the cluster",
    ),
    (
        failures.init_needs_leases(),
        "Invalid configuration: promptDelivery init needs Leases, which this account may not use — allow Leases (`claude-k8s rbac` prints the Role), or use promptDelivery secret",
    ),
    (
        failures.remote_target("ssh"),
        "Invalid configuration: the agent's environment is remote (ssh), but this adapter only runs Kubernetes Jobs — choose the local environment for this agent",
    ),
    (
        failures.prompt_not_staged(2_000_000, "Permission denied"),
        "The prompt has 2000000 bytes, too many for a Secret, and writing it to the shared volume failed: Permission denied — let this account write to the shared volume, or shorten the prompt",
    ),
    (
        failures.prompt_too_large(1_000_000, 921_600),
        "The prompt and its attachments have 1000000 bytes, but the run Secret can hold only 921600 — mount the shared volume on this host too (sharedVolumeDir), or shorten the prompt",
    ),
    (
        failures.template_too_long("promptTemplate", 16_777_216),
        "promptTemplate with its values in place has more than 16777216 characters — use each placeholder once, or name parts of values",
    ),
    (
        failures.home_pod_unavailable("ns/paperclip-0", "there is no such Pod"),
        "The home pod ns/paperclip-0 could not be read: there is no such Pod — pass the Pod's name to this process in POD_NAME (`fieldRef: metadata.name`), or set `kubeconfig` and `image`; without them, Jobs inherit image, volume and env from the host's Pod",
    ),
    (
        failures.home_pod_unavailable("ns/paperclip-0", str(DOWN), DOWN),
        "The home pod ns/paperclip-0 could not be read: Unreachable: GET /apis/batch/v1/namespaces/ns/jobs: Connection refused — no Job was created; check the API server, and run the agent again when it responds",
    ),
    (
        failures.adoption_failed("ac-job", DOWN),
        (
            "Pod reattach failed: Job ac-job cannot be relabelled: "
            "Unreachable: GET /apis/batch/v1/namespaces/ns/jobs: Connection refused — "
            "the Job was left alone, and the next run adopts it"
        ),
    ),
    (
        failures.guard_unreachable(DOWN),
        (
            "Concurrency guard unreachable: Unreachable: GET /apis/batch/v1/namespaces/ns/jobs: Connection refused — "
            "no Job was created; check the API server, and run the agent again when it responds"
        ),
    ),
    (
        failures.run_blocked("ac-ada-1"),
        (
            "Concurrent run blocked: Job ac-ada-1 is still running for this agent — "
            "wait for it, cancel its run, or set concurrencyWaitSec"
        ),
    ),
    (
        failures.slot_held("run-1"),
        (
            "Concurrent run blocked: run run-1 is still running for this agent — "
            "wait for it, cancel it, or set concurrencyWaitSec"
        ),
    ),
    (
        failures.orphan_task_unknown("ac-ada-1"),
        "Concurrent run blocked: orphaned Job ac-ada-1 is still running and its task is unknown — let it end, or delete it if its work is not needed",
    ),
    (
        failures.orphan_session_mismatch("ac-ada-1", "s1", "s2"),
        "Concurrent run blocked: orphaned Job ac-ada-1 works in session s1, this run needs session s2 — let it end, or delete it",
    ),
    (
        failures.job_create_failed("ac-ada-1", FORBIDDEN),
        (
            'Failed to create Kubernetes Job: HTTP 403 Forbidden: User "sa" cannot create resource "jobs" in API group '
            '"batch" — Job ac-ada-1 was refused; give the service account the right named above '
            "(`claude-k8s rbac` prints the Role)"
        ),
    ),
    (
        failures.job_create_failed("ac-ada-1", QUOTA),
        (
            "Failed to create Kubernetes Job: HTTP 403 Forbidden: exceeded quota: small, requested: pods=1, used: "
            "pods=4, limited: pods=4 — Job ac-ada-1 was refused; free some of the namespace's quota or lower `resources`"
        ),
    ),
    (
        failures.job_create_failed("ac-ada-1", INVALID),
        (
            "Failed to create Kubernetes Job: HTTP 422 Invalid: spec.template.spec.tolerations[0].operator: Invalid "
            "value — Job ac-ada-1 was refused; correct the setting that the message is about"
        ),
    ),
    (
        failures.secret_create_failed("ac-ada-1", FORBIDDEN),
        'Failed to create prompt Secret: HTTP 403 Forbidden: User "sa" cannot create resource "jobs" in API group "batch" — Job ac-ada-1 was deleted again; give the service account the right named above (`claude-k8s rbac` prints the Role)',
    ),
    (
        failures.secret_create_failed("ac-ada-1", QUOTA),
        "Failed to create prompt Secret: HTTP 403 Forbidden: exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4 — Job ac-ada-1 was deleted again; free some of the namespace's quota or lower `resources`",
    ),
    (
        failures.as_possibly_started(failures.pod_schedule_failed("it has no Pod", retryable=True)),
        "Pod scheduling failed: it has no Pod — retrying may succeed; it is unknown whether its agent had started",
    ),
    (
        failures.as_possibly_started(failures.pod_disrupted("pod-1", "Evicted", "", started=False)),
        "Pod pod-1 was disrupted (Evicted) — it is unknown whether its agent had started; its session can be resumed",
    ),
    (
        failures.job_gone("ac-ada-1"),
        "Job ac-ada-1 of this run existed and is gone, and its result was never collected — it was deleted, or its TTL expired; start a new run",
    ),
    (failures.cancelled(proven=False), "Run cancelled"),
    (
        failures.pod_reattach_failed("Job ac-ada-1 has no Pod"),
        "Pod reattach failed: Job ac-ada-1 has no Pod — the adopted Job may have done work; inspect it before you run the agent again",
    ),
    (
        failures.reported_by_claude(
            ClassifiedFailure(FailureClass.PROMPT_TOO_LONG, ""), "Prompt is too long", resumed=True
        ),
        "Prompt is too long — the session can no longer be resumed; the next run starts a fresh one",
    ),
    (
        failures.pod_schedule_failed("0/3 nodes are available: insufficient cpu", retryable=True),
        "Pod scheduling failed: 0/3 nodes are available: insufficient cpu — retrying may succeed",
    ),
    (
        failures.pod_schedule_failed(
            'Image pull failed for "claude" (InvalidImageName): x!', retryable=False
        ),
        'Pod scheduling failed: Image pull failed for "claude" (InvalidImageName): x! — correct the cause, then run the agent again',
    ),
    (
        failures.as_adopted(failures.pod_schedule_failed("it has no Pod", retryable=True)),
        "Pod reattach failed: it has no Pod — the adopted Job may have done work; inspect it before you run the agent again",
    ),
    (
        failures.pod_disrupted("pod-1", "Evicted", "The node was low on memory", started=True),
        "Pod pod-1 was disrupted (Evicted): The node was low on memory — its session can be resumed",
    ),
    (
        failures.pod_disrupted("pod-1", "Preempting", "", started=False),
        "Pod pod-1 was disrupted (Preempting) — the agent had not started, so nothing is lost",
    ),
    (
        failures.pod_disrupted("pod-1", "PodDeleted", "the Pod was deleted", started=None),
        "Pod pod-1 was disrupted (PodDeleted): the Pod was deleted — it is unknown whether its agent had started; its session can be resumed",
    ),
    (
        failures.pods_remain("pod-1"),
        "Concurrent run blocked: Pod pod-1 of an earlier run of this agent has not ended — wait for it, raise terminatingWaitSec, or force-delete it when its node is certainly down",
    ),
    (
        failures.max_turns_again(
            "Claude run failed: subtype=error_max_turns: Reached maximum number of turns (3)"
        ),
        "Claude run failed: subtype=error_max_turns: Reached maximum number of turns (3) — comment on the task, or raise maxTurnsPerRun",
    ),
    (
        failures.run_taken_over("ac-ada-1"),
        "Job ac-ada-1 was taken over by another host process while this one did not renew its Lease — the other process reports the result of this run",
    ),
    (
        failures.init_needs_version((1, 29), (1, 20)),
        "Invalid configuration: promptDelivery init needs Kubernetes 1.29 or newer, this cluster has 1.20: an older one starts a second Pod while the agent in a deleted Pod still works — use promptDelivery secret and let this account create Secrets, or upgrade the cluster",
    ),
    (
        failures.job_deleted_externally("detected_via=watch, job=ac-ada-1, ns=agents"),
        "K8s Job was deleted externally before Claude could complete [detected_via=watch, job=ac-ada-1, ns=agents] — find out what deletes Jobs in this namespace; the session can be resumed",
    ),
    (
        failures.job_state_mismatch("ac-ada-1", "403 Forbidden: pods is forbidden"),
        (
            "Job ac-ada-1 did not complete cleanly (403 Forbidden: pods is forbidden) — "
            "it was left alone for the next run to adopt"
        ),
    ),
    (
        failures.files_changed("run-files/job/prompt.txt: FAILED"),
        "A file on the shared volume was changed before the agent started, so it was not started: run-files/job/prompt.txt: FAILED — find out which agent or program of this volume changes it, then run the agent again",
    ),
    (
        failures.workspace_unavailable("The workspace could not be cloned: early EOF", "x", retryable=True),
        "The workspace could not be cloned: early EOF — x",
    ),
    (
        failures.workspace_unavailable("The workspace is not available: no folder", "set it"),
        "The workspace is not available: no folder — set it",
    ),
    (
        failures.session_volume_unavailable("Claim c is being deleted", "end its Pod", retryable=True),
        "Claim c is being deleted — end its Pod",
    ),
    (
        failures.session_volume_unavailable("There is no claim c", "create it"),
        "There is no claim c — create it",
    ),
    (
        failures.log_limit_exceeded("10Gi"),
        "The agent printed more than logSizeLimit 10Gi and was stopped — find out why, or raise logSizeLimit",
    ),
    (
        failures.timeout(60),
        "Timed out after 60s — raise timeoutSec, or give the agent less to do at once; its session can be resumed",
    ),
    (failures.cancelled(proven=True), "Run cancelled"),
    (
        failures.cancelled(proven=True, by="ada@laptop"),
        "Run cancelled by ada@laptop with `claude-k8s cancel`",
    ),
    (failures.empty_reply(EMPTY_REPLY), EMPTY_REPLY),
    (
        failures.truncated(truncated_message("m", "exit code 137, SIGKILL (commonly OOMKilled)")),
        (
            "Claude run was truncated mid-stream (model: m) — assistant produced content but no result event arrived; "
            "exit code 137, SIGKILL (commonly OOMKilled)"
        ),
    ),
    (
        failures.init_failed(
            build_partial_run_error(1, "m", '{"type":"system","subtype":"init","model":"m"}')
        ),
        (
            "Claude exited immediately after init (model: m) (exit code 1) — the model may be unsupported or the "
            "session may have been rejected before producing output"
        ),
    ),
    (
        failures.no_result(
            build_partial_run_error(127, "", "sh: claude: not found", Terminated(127, "Error"))
        ),
        "Claude exited with code 127: sh: claude: not found [pod: reason=Error]",
    ),
    (
        reported(FailureClass.AUTH_REQUIRED, "Invalid API key · Fix external API key"),
        f"{FAILED}Invalid API key · Fix external API key — give the agent a valid API key or login",
    ),
    (
        reported(FailureClass.QUOTA, "You've hit your weekly limit · resets 3pm (UTC)"),
        (
            f"{FAILED}You've hit your weekly limit · resets 3pm (UTC) — "
            "wait until the limit resets, or use another account"
        ),
    ),
    (
        reported(FailureClass.TRANSIENT, "API Error: 529 Overloaded."),
        f"{FAILED}API Error: 529 Overloaded. — try again later",
    ),
    (
        reported(FailureClass.CREDIT_EXHAUSTED, "Credit balance is too low"),
        f"{FAILED}Credit balance is too low — add credit to the API account",
    ),
    (
        reported(FailureClass.MODEL_NOT_FOUND, "There's an issue with the selected model (x)."),
        f"{FAILED}There's an issue with the selected model (x). — correct `model`, or request access to it",
    ),
    (
        reported(FailureClass.PROMPT_TOO_LONG, "Prompt is too long"),
        f"{FAILED}Prompt is too long — start a fresh session or send less",
    ),
    (
        reported(FailureClass.MAX_BUDGET, "Reached maximum budget ($1)"),
        f"{FAILED}Reached maximum budget ($1) — raise maxCostUsdPerRun, or the budget given in extraArgs",
    ),
    (
        reported(FailureClass.MAX_OUTPUT, "exceeded 32000 tokens"),
        f"{FAILED}exceeded 32000 tokens — ask for less at once",
    ),
    (
        reported(FailureClass.REFUSAL, "unable to respond"),
        f"{FAILED}unable to respond — rephrase the task; the next run starts a fresh session",
    ),
    (reported(FailureClass.CONTENT_FILTER, "output blocked"), f"{FAILED}output blocked — rephrase the task"),
    (
        reported(FailureClass.CONTEXT_WINDOW, "the context is full"),
        (
            f"{FAILED}the context is full — the conversation fills the model's context window: start a fresh "
            "session or send less"
        ),
    ),
    (reported(FailureClass.THROTTLED, "rate limited"), f"{FAILED}rate limited — try again later"),
    (
        reported(FailureClass.UNTRUSTED_CERTIFICATE, "Self-signed certificate detected"),
        (
            f"{FAILED}Self-signed certificate detected — put the certificate of your company's CA into a file in the "
            "Pod, and the file's path into the variable NODE_EXTRA_CA_CERTS (`env`); have an expired certificate renewed"
        ),
    ),
    (
        reported(FailureClass.MAX_TURNS, "Reached maximum number of turns (2)"),
        f"{FAILED}Reached maximum number of turns (2) — the host continues the run; raise maxTurnsPerRun to allow more turns at once",
    ),
    (
        reported(FailureClass.SESSION_UNAVAILABLE, "No conversation found with session ID: x"),
        f"{FAILED}No conversation found with session ID: x — the next run starts a fresh session",
    ),
    (
        reported(FailureClass.POISONED_SESSION, "previous_message_id"),
        f"{FAILED}previous_message_id — the next run starts a fresh session",
    ),
    (
        reported(FailureClass.EMPTY_REPLY, "[ede_diagnostic]"),
        f"{FAILED}[ede_diagnostic] — try again; check the model's gateway if it happens again",
    ),
    (reported(FailureClass.OTHER, "boom"), f"{FAILED}boom — read the agent's output for details"),
]


@pytest.mark.parametrize(("failure", "message"), GOLDEN, ids=lambda value: getattr(value, "code", None))
def test_failure_has_the_golden_message(failure: Failure, message: str) -> None:
    assert failure.message == message


def test_every_code_has_a_golden_message() -> None:
    assert {failure.code for failure, _ in GOLDEN} == set(ErrorCode)


@pytest.mark.parametrize("failure", [failure for failure, _ in GOLDEN], ids=lambda failure: str(failure.code))
def test_every_message_names_the_next_step(failure: Failure) -> None:
    assert " — " in failure.message or failure.code in {ErrorCode.CANCELLED, ErrorCode.NO_RESULT}


@pytest.mark.parametrize("code", list(ErrorCode), ids=str)
def test_error_reference_matches_the_golden_failures(code: ErrorCode) -> None:
    built = [failure for failure, _ in GOLDEN if failure.code == code]
    described = read_descriptions()[code]
    assert {failure.evidence for failure in built} == set(described.evidence)
    assert {failure.family for failure in built} == set(described.families)
    assert {failure.clear_session for failure in built} == set(described.clears_session)
    assert bool(described.retry_if) == (len(described.families) > 1)
