"""From a `RunPlan` to the Job and its Secret, as JSON for the API server.

The Job has one Pod, which is never retried (`backoffLimit: 0`), with one agent container. The container's
command is the relay, which runs the agent and copies its output. The relay's scripts are among the run's
files. The Job is created first and the Secret second, because the Secret has the Job as its owner. The Pod
cannot start until the Secret exists, so the run starts when the Secret is created. Deleting the Job deletes
both. A run without a Secret starts at once.

`pod_template` builds the Pod without the configured `podTemplate`, which is merged into it last
(`pod_template.py`). Of entries with the same name in the container's env the last one counts: entries of the
home pod come first, then plain values, secrets, and references for the relay.
"""

from base64 import b64encode
from typing import Any

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.base.json_readers import get_object, get_objects
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobRef, JsonObject
from paperclip_claude_k8s.plan.bundle import secret_keys
from paperclip_claude_k8s.plan.delivery import escaped, writing_container
from paperclip_claude_k8s.plan.docker import docker_env, sidecars
from paperclip_claude_k8s.plan.git_containers import agent_variables, clone_container, push_container
from paperclip_claude_k8s.plan.identity import Identity, label_value, user_labels
from paperclip_claude_k8s.plan.paths import CACHE_DIR, CONFIG_DIR, POD_HOME, RUN_DIR, SCRATCH_DIR, SESSION_DIR
from paperclip_claude_k8s.plan.pod_template import apply_overlay
from paperclip_claude_k8s.plan.run_plan import SECRET_ENV_PREFIX, START_MARKS, RunPlan, bytes_in_parts
from paperclip_claude_k8s.plan.secrets import command_with_references
from paperclip_claude_k8s.plan.session_volume import CACHE_VARIABLE, CONFIG_DIR_VARIABLE
from paperclip_claude_k8s.plan.shared_files import LIST_FILE
from paperclip_claude_k8s.plan.skill_containers import unpack_skills_container
from paperclip_claude_k8s.plan.upload_containers import return_container, unpack_container
from paperclip_claude_k8s.plan.upload_parts import PART_KEY, folder_mark
from paperclip_claude_k8s.plan.volumes import mounts, mounts_at_home, volumes

TERMINATION_LOG = "/dev/termination-log"


def job_manifest(plan: RunPlan) -> dict[str, Any]:
    """The Job of the plan."""
    config = plan.config
    spec: JsonObject = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "ttlSecondsAfterFinished": int(config.ttl_seconds_after_finished),
        "template": apply_overlay(pod_template(plan), plan.overlay),
    }
    if plan.deadline is not None:
        spec["activeDeadlineSeconds"] = plan.deadline
    if config.queue_name:
        spec["suspend"] = True  # until Kueue admits the Job
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": plan.job_name,
            "namespace": plan.namespace,
            "labels": _labels(plan),
            "annotations": _annotations(plan),
        },
        "spec": spec,
    }


def pod_template(plan: RunPlan) -> dict[str, Any]:
    """The Pod template before the overlay is merged in."""
    return {
        "metadata": {"labels": _labels(plan), "annotations": _pod_annotations(plan)},
        "spec": _pod_spec(plan),
    }


def secret_manifest(plan: RunPlan, job: JobRef) -> JsonObject:
    """The run Secret with prompt, files and secret values; the cluster deletes it with the Job, its owner."""
    return {
        **_owned_secret(plan.secret_name, job, plan.identity),
        "stringData": dict(plan.secret_data),
        **({"data": _skill_data(plan)} if plan.packed.skill_files else {}),
    }


def part_manifest(job: JobRef, identity: Identity, name: str, content: bytes) -> JsonObject:
    """The Secret of one part (`upload_parts.py`); the cluster deletes it with the Job, its owner."""
    secret = _owned_secret(name, job, identity)
    return {**secret, "data": {PART_KEY: b64encode(content).decode()}}


def _owned_secret(name: str, job: JobRef, identity: Identity) -> JsonObject:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job.uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": job.namespace,
            "labels": dict(identity.labels),
            "ownerReferences": [owner],
        },
    }


def _skill_data(plan: RunPlan) -> dict[str, str]:
    """Key → content of a skill's file in base64, because it may be no text."""
    files = plan.packed.skill_files
    return {key: b64encode(files[path].content).decode() for key, path in secret_keys(files).items()}


def _labels(plan: RunPlan) -> dict[str, str]:
    accepted, _ = user_labels(plan.config.labels)
    queue = {labels.QUEUE_LABEL: plan.config.queue_name} if plan.config.queue_name else {}
    claim = label_value(plan.session_volume.claim_name)
    session = {labels.SESSION_CLAIM_LABEL: claim} if claim else {}
    return {**accepted, **queue, **session, **plan.identity.labels}


def _annotations(plan: RunPlan) -> dict[str, str]:
    optional = {
        labels.AGENT_NAME_ANNOTATION: plan.agent_name,
        labels.TRACE_ANNOTATION: plan.traceparent,
        labels.WAKE_ANNOTATION: plan.wake_digest,
        labels.RUN_LOG_ANNOTATION: plan.run_log and plan.run_log.path,
        labels.STAGED_ANNOTATION: plan.delivery.staged and plan.delivery.staged_in,
        labels.UPLOAD_ANNOTATION: folder_mark(plan.workspace.folder),
        labels.UPLOAD_SIZE_ANNOTATION: str(bytes_in_parts(plan) or ""),
        labels.UNGATED_ANNOTATION: "" if plan.secret_data else "true",
    }
    return {
        labels.ADAPTER_LABEL: labels.ADAPTER_TYPE,
        labels.NONCE_ANNOTATION: plan.nonce,
        **{key: value for key, value in optional.items() if value},
    }


def _pod_annotations(plan: RunPlan) -> dict[str, str]:
    if not plan.config.protect_from_eviction:
        return _annotations(plan)
    return {
        **_annotations(plan),
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }


def _pod_spec(plan: RunPlan) -> JsonObject:
    config = plan.config
    spec: JsonObject = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": int(config.stop_grace_sec),
        "enableServiceLinks": False,
        "automountServiceAccountToken": config.service_account_name is not None,
        "serviceAccountName": config.service_account_name,
        "runtimeClassName": config.runtime_class_name,
        "priorityClassName": config.priority_class_name,
        "securityContext": _pod_security_context(config.run_as_user),
        "initContainers": [*_init_containers(plan), *sidecars(config)] or None,
        "containers": [_agent_container(plan), *_workspace_containers(plan)],
        "volumes": volumes(plan),
        **_placement(plan),
    }
    return {key: value for key, value in spec.items() if value is not None}


def _placement(plan: RunPlan) -> JsonObject:
    """Node, DNS and pull credentials of the Pod: by the config, else those of the home pod."""
    config, home = plan.config, plan.home
    selector = config.node_selector if config.node_selector is not None else home and dict(home.node_selector)
    tolerations = config.tolerations if config.tolerations is not None else home and home.tolerations
    placement: JsonObject = {
        "nodeSelector": selector,
        "tolerations": list(tolerations or ()),
        "affinity": _affinity(plan),
        "dnsPolicy": home and home.dns_policy,
        "dnsConfig": home and home.dns_config,
        "imagePullSecrets": list(home.image_pull_secrets) if home else (),
    }
    return {key: value for key, value in placement.items() if value}


def _affinity(plan: RunPlan) -> JsonObject | None:
    """The home pod's affinity. If Pods of one session volume have to be on one node, a term is added."""
    inherited = (plan.home and plan.home.affinity) or {}
    if not plan.session_volume.one_node:
        return dict(inherited) or None
    claim = label_value(plan.session_volume.claim_name)
    term: JsonObject = {
        "labelSelector": {"matchLabels": {labels.SESSION_CLAIM_LABEL: claim}},
        "topologyKey": "kubernetes.io/hostname",
    }
    by_pods = get_object(inherited, "podAffinity")
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = [*get_objects(by_pods, required), term]
    return {**inherited, "podAffinity": {**by_pods, required: terms}}


def _pod_security_context(user: int | None) -> JsonObject:
    context: JsonObject = {"runAsNonRoot": user != 0, "seccompProfile": {"type": "RuntimeDefault"}}
    if user is None:
        return context  # the cluster, or else the image, chooses user and group
    group = user or 1000  # never group 0
    ids = {"runAsUser": user, "runAsGroup": group, "fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"}
    return {**context, **ids}


def _workspace_containers(plan: RunPlan) -> list[JsonObject]:
    """The containers that push or return the agent's changes to the workspace."""
    common = _common_container_fields(plan)
    return [*push_container(plan, common), *return_container(plan, common)]


def _init_containers(plan: RunPlan) -> list[JsonObject]:
    common = _common_container_fields(plan)
    unpacking = [*unpack_skills_container(plan, common), *unpack_container(plan, common)]
    own = [*clone_container(plan, common, mounts_at_home(plan)), *unpacking]
    if not plan.by_init:
        return own
    init = writing_container(plan.delivery.init, with_secret=bool(plan.delivery.secret))
    return [{**_common_container_fields(plan), **init}, *own]


def _common_container_fields(plan: RunPlan) -> JsonObject:
    """The default fields of all containers that the adapter adds, except the Docker daemon's."""
    config = plan.config
    return {
        "image": plan.image,
        "imagePullPolicy": config.image_pull_policy,
        "resources": {
            "requests": {"cpu": config.cpu_request, "memory": config.memory_request},
            "limits": {"cpu": config.cpu_limit, "memory": config.memory_limit},
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _agent_container(plan: RunPlan) -> JsonObject:
    arguments = command_with_references(plan.argv, plan.secret_arguments)
    return {
        **_common_container_fields(plan),
        "name": labels.AGENT_CONTAINER,
        "command": relay.command(RUN_DIR, arguments),
        "workingDir": plan.workdir,
        "env": _agent_env(plan),
        "envFrom": list(plan.environment.env_from),
        "volumeMounts": mounts(plan),
    }


def _agent_env(plan: RunPlan) -> list[JsonObject]:
    """The env of the agent's container; of entries with the same name the last one counts."""
    inherited: list[JsonObject] = list(plan.environment.value_from)
    values, references = _plain_variables(plan), _relay_references(plan)
    literals: list[JsonObject] = [
        {"name": name, "value": escaped(value)}
        for name, value in sorted(values.items())
        if name not in references
    ]
    secrets: list[JsonObject] = [
        {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": plan.secret_name, "key": SECRET_ENV_PREFIX + name}},
        }
        for name in sorted(plan.secret_env.keys() - values.keys() - references.keys())
    ]
    relay_references: list[JsonObject] = [
        {"name": name, "valueFrom": source} for name, source in references.items()
    ]
    return [*inherited, *literals, *secrets, *relay_references]


def _plain_variables(plan: RunPlan) -> dict[str, str]:
    """The plain variables; those for Docker, sessions and the relay replace others of the same name."""
    staged_paths = {f"{RUN_DIR}/{name}": plan.delivery.path(name) for name in plan.delivery.staged}
    of_agent = {name: staged_paths.get(value, value) for name, value in plan.environment.literals.items()}
    return {**of_agent, **docker_env(plan.config), **_session_variables(plan), **_relay_variables(plan)}


def _session_variables(plan: RunPlan) -> dict[str, str]:
    """Where the Claude CLI keeps its files. The relay creates these folders with mode 0700."""
    if not plan.session_volume.separate:
        return {}
    return {CONFIG_DIR_VARIABLE: CONFIG_DIR, CACHE_VARIABLE: CACHE_DIR, relay.SESSION: SESSION_DIR}


def _relay_references(plan: RunPlan) -> dict[str, JsonObject]:
    """Variables that the cluster resolves: the Pod's uid, and that of the only Pod that may run the agent."""
    pod_uid: JsonObject = {"fieldRef": {"fieldPath": "metadata.uid"}}
    if not plan.secret_data:
        return {relay.POD: pod_uid}
    only_pod: JsonObject = {"name": plan.secret_name, "key": labels.ONLY_POD_KEY, "optional": True}
    return {relay.POD: pod_uid, relay.ONLY_POD: {"secretKeyRef": only_pod}}


def _relay_variables(plan: RunPlan) -> dict[str, str]:
    return {
        relay.DIR: SCRATCH_DIR,
        relay.PROMPT: plan.delivery.path("prompt.txt"),
        relay.VOLUME: POD_HOME,
        relay.FILES: f"{RUN_DIR}/{LIST_FILE}" if plan.delivery.shared else "",
        relay.OUT: plan.run_log.in_pod if plan.run_log else "",
        relay.STARTED: f"{POD_HOME}/{START_MARKS}" if plan.shares_volume else "",
        relay.NONCE: plan.nonce,
        relay.LIMIT: str(plan.config.log_limit_bytes),
        relay.MESSAGE: TERMINATION_LOG,
        relay.ONLY_POD: "",  # replaced by a reference if there is a run Secret
        **agent_variables(plan),
        "HOME": POD_HOME,
    }
