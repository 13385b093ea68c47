"""Any config and context: `execute` returns a result, and creates no Job that the policy does not allow."""

import asyncio
import copy
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.any_json import ODD_JSON
from tests.support.fuzzing import FUZZ

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster

STRICT = Policy(
    kubeconfigs=("/srv/kubeconfig",),
    instruction_roots=("/srv/instructions",),
    skill_roots=("/srv/skills",),
    shared_volume_dirs=("/srv/volume",),
    namespaces=("paperclip",),
    images=("local/*",),
    service_accounts=("agent",),
    runtime_classes=("gvisor",),
    priority_classes=(),
    queues=(),
    docker=False,
    root_user=False,
    privileged=False,
    capabilities=(),
    host_namespaces=False,
    node_names=(),
    volume_types=("emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim"),
    secrets=("shared-*",),
    config_maps=("shared-*",),
    claims=("shared-*",),
    service_account_tokens=False,
    max_timeout_sec=600,
    max_ttl_seconds_after_finished=60,
    max_turns_per_run=10,
    max_cpu="8",
    max_memory="16Gi",
    max_log_size="1Gi",
)
BASE: dict[str, Any] = {
    "image": "local/claude",
    "namespace": "paperclip",
    "kubeconfig": "/srv/kubeconfig",
    "timeoutSec": 60,
    "ttlSecondsAfterFinished": 60,
    "maxTurnsPerRun": 5,
    "logSizeLimit": "1Gi",
    "env": {"A": "b"},
    "labels": {"team": "x"},
    "nodeSelector": {"disk": "fast"},
    "mcpServers": {"one": {"command": "true"}},
    "paperclipRuntimeSkills": [{"key": "a/b", "runtimeName": "b", "source": "/srv/skills/b"}],
    "paperclipSkillSync": {"desiredSkills": []},
    "podTemplate": {
        "metadata": {"annotations": {"note": "x"}, "labels": {"app": "x"}},
        "spec": {
            "serviceAccountName": "agent",
            "securityContext": {"fsGroup": 1000},
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "shared-a"}}],
            "containers": [
                {
                    "name": "claude",
                    "env": [{"name": "B", "valueFrom": {"secretKeyRef": {"name": "shared-b", "key": "k"}}}],
                    "securityContext": {"readOnlyRootFilesystem": True},
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                },
                {
                    "name": "side",
                    "image": "local/side",
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                },
            ],
        },
    },
}
"""A config that `STRICT` allows, and that has a value of each kind."""
DANGEROUS: list[Any] = [  # values for any place in a config
    *({"hostPID": True}, {"hostNetwork": 1}, {"nodeName": "n"}, {"serviceAccount": "admin"}),
    *({"privileged": True}, {"runAsUser": 0}, {"runAsNonRoot": False}, {"capabilities": {"add": ["BPF"]}}),
    *({"allowPrivilegeEscalation": True}, {"procMount": "Unmasked"}),
    *({"$patch": "delete"}, {"$patch": "replace"}, [{"$patch": "replace"}]),
    *({"seccompProfile": {"type": "Unconfined"}}, {"automountServiceAccountToken": True}),
    *({"hostPath": {"path": "/"}}, {"secret": {"secretName": "db"}}, {"image": "evil"}, {"name": "claude"}),
    *([{"name": "v", "hostPath": {"path": "/"}}], [{"name": "x", "image": "evil"}], [{"name": "claude"}]),
    *([{"secretRef": {"name": "db"}}], [{"name": "db"}]),
    *("evil", "/proc/self/environ", "/etc/shadow", "admin", "", "0", "64", "1e9", "\ud800", "\0"),
    *(0, None, True, False, [], {}, 10**400, 1e308, -1),
]
VALUES = st.sampled_from(DANGEROUS) | ODD_JSON
SETTINGS = [field.alias or name for name, field in AdapterConfig.model_fields.items()]
FIELDS = """
    resources envVars args paperclipRuntimeSkills paperclipSkillSync spec env securityContext containers
    initContainers volumes imagePullSecrets hostPID envFrom image privileged $patch valueFrom metadata
    annotations template nodeName limits requests cpu name
"""
"""Keys that occur inside of settings."""
KEYS = st.sampled_from([*SETTINGS, *FIELDS.split()])
CONTEXT_KEYS = ["agent", "context", "runtime", "executionTarget", "runtimeMcp", "authToken", "runId", "x"]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """`BASE` with up to four places replaced or extended."""
    config = copy.deepcopy(BASE)
    for _ in range(draw(st.integers(1, 4))):
        at: Any = config
        while True:
            known = list(at) if isinstance(at, dict) else list(range(len(at)))
            place: Any = draw(
                st.sampled_from(known) | KEYS if isinstance(at, dict) else st.sampled_from(known)
            )
            inner = at.get(place) if isinstance(at, dict) else at[place]
            if not (isinstance(inner, (dict, list)) and inner and draw(st.booleans())):
                break
            at = inner
        value = copy.deepcopy(draw(VALUES))
        at[place] = _joined(inner, value) if draw(st.booleans()) else value
    return config


def _joined(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | new
    return old + new if isinstance(old, list) and isinstance(new, list) else new


class NoJobs(Gateway):
    """Refuses to create Jobs, and keeps what it refused."""

    def __init__(self, fake: FakeCluster) -> None:
        super().__init__(http=fake.connection)
        self.refused: list[Any] = []

    async def create_job(
        self, namespace: str, manifest: Mapping[str, Any], *, dry_run: bool = False
    ) -> JobSnapshot:
        self.refused.append((namespace, manifest))
        raise ClusterError(422, "Invalid", "the test creates no Job")


async def on_log(_stream: str, _text: str) -> None:
    """Ignore the run's log."""


async def run_once(config: Any, more: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The result of a run, and the Jobs that it tried to create. `more`: other fields of the context."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = NoJobs(FakeCluster(Path(folder), lambda _: None))  # type: ignore[arg-type, return-value]  # no Pods
        adapter = Adapter(ProcessSettings(policy=STRICT), lambda *_: gateway)
        ctx = {"runId": "r", "agent": {"id": "a", "companyId": "c"}, "context": {}, "onLog": on_log}
        ctx |= {**more, "config": config}
        try:
            return (await adapter.execute(ctx)).to_wire(), gateway.refused
        finally:
            await adapter.shutdown()


def forbidden(namespace: str, job: Mapping[str, Any]) -> list[str]:
    """What `STRICT` does not allow in a Job, found by other code than the adapter's."""
    spec = job["spec"]["template"]["spec"]
    fields = ("hostPID", "hostNetwork", "hostIPC", "nodeName", "serviceAccount", "priorityClassName")
    found = [field for field in fields if spec.get(field)]
    found += [key for key, value in entries(spec) if is_forbidden(key, value, job["metadata"]["name"])]
    allowed = {"name", "emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim", "$patch"}
    found += [kind for volume in spec["volumes"] for kind in volume if kind not in allowed]
    found += [] if namespace == "paperclip" else [f"namespace {namespace}"]
    found += [] if spec.get("automountServiceAccountToken") is False else ["token"]
    found += [] if 0 < job["spec"].get("activeDeadlineSeconds", 0) < 2000 else ["deadline"]
    found += [] if job["spec"]["ttlSecondsAfterFinished"] <= 60 else ["TTL"]
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        found += forbidden_in_container(container, spec.get("securityContext") or {})
    return found


def entries(part: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every object, with its value, but none inside of `value` and `nodeSelector`."""
    for key, value in part.items() if isinstance(part, dict) else ():
        yield key, value
        if key not in {"nodeSelector", "value"}:
            yield from entries(value)
    for item in part if isinstance(part, (list, tuple)) else ():
        yield from entries(item)


def is_forbidden(key: str, value: Any, own_secret: str) -> bool:
    match key:
        case "image":
            return not str(value).startswith("local/")
        case "secretName":
            return bool(value != own_secret) and not str(value).startswith("shared-")
        case "secretRef" | "secretKeyRef":
            name = value.get("name") if isinstance(value, dict) else None
            return name not in {None, own_secret} and not str(name).startswith("shared-")
        case "capabilities":
            return isinstance(value, dict) and bool(value.get("add"))
        case "seccompProfile" | "appArmorProfile":
            return isinstance(value, dict) and value.get("type") == "Unconfined"
    return False


def forbidden_in_container(container: Mapping[str, Any], pod_context: Mapping[str, Any]) -> Iterator[str]:
    context = {**pod_context, **(container.get("securityContext") or {})}
    if context.get("procMount") not in (None, "", "Default"):
        yield "procMount"
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield "privileges"
    if context.get("runAsUser") == 0 or not (context.get("runAsNonRoot") or context.get("runAsUser")):
        yield "root"
    if not {"cpu", "memory"} <= set((container.get("resources") or {}).get("limits") or {}):
        yield "no limit"


def assert_fails_within_the_policy(config: Any, more: dict[str, Any]) -> None:
    """Every run fails, because no Job can be created."""
    result, refused = asyncio.run(run_once(config, more))
    assert result["errorCode"], result
    for namespace, job in refused:
        assert forbidden(namespace, job) == []


def test_unchanged_config_reaches_the_cluster() -> None:
    result, refused = asyncio.run(run_once(BASE, {}))
    assert result["errorCode"] == "k8s_job_create_failed", result["errorMessage"]
    assert len(refused) == 1


@FUZZ
@example(config=BASE | {"podTemplate": {"spec": {"priorityClassName": {"procMount": "Unmasked"}}}})
@example(config=BASE | {"podTemplate": {"spec": {}, "\ud800": None}})
@example(config=BASE | {"podTemplate": {"spec": {"\ud800": {"env": "not a list"}}}})
@example(config=BASE | {"\ud800": 1, "env": {"\ud800": "a"}})
@given(config=mutated())
def test_changed_config_has_a_result_and_stays_within_the_policy(config: dict[str, Any]) -> None:
    assert_fails_within_the_policy(config, {})


@FUZZ
@example(config={"rtkMaxOutputBytes": 10**400})
@given(config=st.dictionaries(KEYS, VALUES, max_size=6) | VALUES)
def test_any_config_has_a_result_and_stays_within_the_policy(config: Any) -> None:
    assert_fails_within_the_policy(config, {})


@FUZZ
@example(more={"runId": "\ud800"}, config=BASE)
@given(more=st.dictionaries(st.sampled_from(CONTEXT_KEYS), VALUES, max_size=4), config=st.just(BASE))
def test_any_context_has_a_result_and_stays_within_the_policy(
    more: dict[str, Any], config: dict[str, Any]
) -> None:
    assert_fails_within_the_policy(config, more)
