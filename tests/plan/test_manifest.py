"""The Job and the run Secret, as they are sent to the API server: security, secrets, environment, labels."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.plans import HOME, a_context, a_plan, the_job, the_secret

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.plan.delivery import escaped
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.paths import RUN_DIR


def pod_spec(**config: Any) -> dict[str, Any]:
    spec: dict[str, Any] = the_job(**config)["spec"]["template"]["spec"]
    return spec


def agent(**config: Any) -> dict[str, Any]:
    (container,) = pod_spec(**config)["containers"]
    return dict(container)


def env(**config: Any) -> dict[str, Any]:
    """Name → entry; of entries with one name the last counts, as for the kubelet."""
    return {entry["name"]: entry for entry in agent(**config)["env"]}


def test_pod_is_confined_and_gets_no_account_token() -> None:
    spec, container = pod_spec(), agent()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"secret", "emptyDir", "persistentVolumeClaim", "configMap", "projected"}


def test_owner_of_volume_is_changed_only_if_it_differs() -> None:
    assert pod_spec()["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_job_has_one_pod_and_no_retry() -> None:
    job_spec = the_job()["spec"]
    assert (job_spec["backoffLimit"], job_spec["podReplacementPolicy"]) == (0, "Failed")
    assert job_spec["template"]["spec"]["restartPolicy"] == "Never"
    assert job_spec["ttlSecondsAfterFinished"] == 3600
    assert "activeDeadlineSeconds" not in job_spec


def test_deadline_is_the_sum_of_all_start_budgets_time_limit_and_grace() -> None:
    job_spec = the_job(timeoutSec=600, graceSec=30)["spec"]
    # scheduleTimeoutSec, imagePullTimeoutSec, missingImageTimeoutSec, startTimeoutSec, timeoutSec, graceSec
    assert job_spec["activeDeadlineSeconds"] == 120 + 900 + 60 + 120 + 600 + 30


def test_deadline_is_a_whole_number_of_seconds_that_leaves_the_agent_all_its_time() -> None:
    start_budgets = 120 + 900 + 60 + 120
    deadline = the_job(timeoutSec=600.5, graceSec=30)["spec"]["activeDeadlineSeconds"]
    assert deadline == start_budgets + 631  # 600.5 + 30, rounded up


def test_every_empty_dir_has_a_size_limit() -> None:
    for volume in pod_spec(home=None)["volumes"]:
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]


def test_relay_has_room_for_what_an_agent_prints_before_it_is_stopped() -> None:
    scratch = next(v for v in pod_spec(logSizeLimit="1Mi")["volumes"] if v["name"] == "scratch")
    assert int(scratch["emptyDir"]["sizeLimit"]) > 2**20 + relay.ABOVE_LIMIT


def test_job_does_not_contain_secret_values() -> None:
    config: dict[str, Any] = {"env": {"MY_PASSWORD": "canary-password", "PLAIN": "plain-value"}}
    job = json.dumps(the_job(**config))
    assert "canary" not in job
    assert "plain-value" not in job
    secret = the_secret(**config)
    assert secret["stringData"]["env.PLAIN"] == "plain-value"
    assert secret["stringData"]["env.MY_PASSWORD"] == "canary-password"
    assert secret["stringData"]["env.PAPERCLIP_API_KEY"] == "canary-token"


def test_secret_variables_are_not_mounted_as_files() -> None:
    (run,) = [volume for volume in pod_spec(env={"A_TOKEN": "x"})["volumes"] if volume["name"] == "run"]
    files = {item["key"] for item in run["secret"]["items"]}
    assert files == {"prompt.txt", *relay.scripts()}


def test_secret_is_created_with_its_job_as_owner() -> None:
    (owner,) = the_secret()["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": "uid-1"}


def test_dollars_in_env_and_arguments_are_escaped() -> None:
    assert escaped("$(HOME) $$ $x") == "$$(HOME) $$$$ $$x"
    home = replace(HOME, env=({"name": "PRICE", "value": "$(NOT_A_REF)"},))
    assert env(home=home)["PRICE"]["value"] == "$$(NOT_A_REF)"
    assert the_secret(env={"PRICE": "$(NOT_A_REF)"})["stringData"]["env.PRICE"] == "$(NOT_A_REF)"
    assert agent(extraArgs=["--x", "$(y)"])["command"][-1] == "$$(y)"


def test_relay_gets_the_unchanged_command_line_of_the_agent() -> None:
    command = agent(model="opus", extraArgs=["--flag", "two words 'quoted'"])["command"]
    assert command[:2] == relay.command(RUN_DIR, ())
    assert command[2:] == [
        *("claude", "--print", "--output-format", "stream-json", "--verbose"),
        *("--dangerously-skip-permissions", "--model", "opus", "--flag", "two words 'quoted'"),
    ]


def test_job_is_small_because_every_watch_event_repeats_it() -> None:
    assert len(json.dumps(the_job())) < 6_000


def test_root_gets_a_tool_list_instead_of_skip_permissions() -> None:
    command = agent(runAsUser=0)["command"]
    assert "--dangerously-skip-permissions" not in command
    assert "--allowedTools" in command
    assert pod_spec(runAsUser=0)["securityContext"]["runAsNonRoot"] is False


def test_root_may_use_the_tools_of_its_mcp_servers() -> None:
    servers = {"files": {"command": "f"}, "my server.1": {"url": "https://x.example"}, "off": None}

    def allowed(**config: Any) -> list[str]:
        command = agent(runAsUser=0, mcpServers=servers, **config)["command"]
        return str(command[command.index("--allowedTools") + 1]).split(",")

    assert [name for name in allowed() if name.startswith("mcp")] == ["mcp__files", "mcp__my_server_1"]
    assert "Bash" in allowed()
    assert allowed(allowedTools=["Read"]) == ["Read"]


@pytest.mark.parametrize(
    ("template", "user", "as_root"),
    [
        ({"spec": {"securityContext": {"runAsUser": 0}}}, 1000, True),
        ({"spec": {"containers": [{"name": "claude", "securityContext": {"runAsUser": 0}}]}}, 1000, True),
        ({"spec": {"containers": [{"name": "other", "securityContext": {"runAsUser": 0}}]}}, 1000, False),
        ({"spec": {"securityContext": {"runAsUser": 1000}}}, 0, False),
        (
            {
                "spec": {
                    "securityContext": {"runAsUser": 0},
                    "containers": [{"name": "claude", "securityContext": {"runAsUser": 7}}],
                }
            },
            1000,
            False,
        ),
        ({"spec": {"securityContext": {"runAsUser": None}}}, 1000, False),
    ],
)
def test_agent_gets_the_command_of_root_if_the_pod_template_makes_it_root(
    template: dict[str, Any],
    user: int,
    as_root: bool,  # noqa: FBT001
) -> None:
    containers = pod_spec(podTemplate=template, runAsUser=user)["containers"]
    (command,) = (" ".join(each["command"]) for each in containers if each["name"] == "claude")
    assert ("--dangerously-skip-permissions" in command) is not as_root
    assert ("--allowedTools" in command) is as_root


def test_run_as_user_null_leaves_user_and_groups_to_the_cluster() -> None:
    spec = pod_spec(runAsUser=None)
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert "--dangerously-skip-permissions" in agent(runAsUser=None)["command"]
    (run,) = [volume for volume in spec["volumes"] if volume["name"] == "run"]
    assert run["secret"]["defaultMode"] == 0o444  # without fsGroup, only this mode lets the agent read it


def test_placement_is_inherited_unless_configured() -> None:
    home = HomePod(
        namespace="ns",
        name="h",
        image="home:1",
        node_selector={"disk": "ssd"},
        tolerations=[{"key": "a", "operator": "Exists"}],
        dns_policy="None",
        dns_config={"nameservers": ["1.1.1.1"]},
        image_pull_secrets=[{"name": "pull"}],
        affinity={"nodeAffinity": {}},
    )
    spec = pod_spec(home=home)
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [{"key": "a", "operator": "Exists"}]
    assert spec["dnsConfig"] == {"nameservers": ["1.1.1.1"]}
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    chosen = pod_spec(home=home, nodeSelector={"disk": "any"}, tolerations=[])
    assert chosen["nodeSelector"] == {"disk": "any"}
    assert "tolerations" not in chosen


def test_shared_volume_is_home_of_the_agent() -> None:
    (home,) = [volume for volume in pod_spec()["volumes"] if volume["name"] == "home"]
    assert home["persistentVolumeClaim"] == {"claimName": HOME.claim_name}
    assert {"name": "home", "mountPath": "/paperclip"} in agent()["volumeMounts"]


def test_configured_labels_do_not_replace_reserved_ones() -> None:
    mine = {"team": "blue", "paperclip.io/agent-id": "other", "app.kubernetes.io/component": "x"}
    labels = the_job(labels=mine)["metadata"]["labels"]
    assert labels["team"] == "blue"
    assert labels["paperclip.io/agent-id"] == "ada"
    assert labels["app.kubernetes.io/component"] == "agent-job"


def test_queue_name_suspends_the_job() -> None:
    job = the_job(queueName="night")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "night"


def test_job_has_ids_as_labels_and_a_digest_of_its_wake() -> None:
    job = the_job()
    assert job["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "paperclip",
        "app.kubernetes.io/component": "agent-job",
        "paperclip.io/adapter-type": "claude_k8s",
        "paperclip.io/agent-id": "ada",
        "paperclip.io/run-id": "run-1",
        "paperclip.io/company-id": "co",
        "paperclip.io/task-id": "task-1",
    }
    same = the_job(a_context(runId="run-2"))
    other = the_job(a_context(context={"paperclipTaskMarkdown": "Another."}))
    digest = "paperclip.io/wake-digest"
    assert same["metadata"]["annotations"][digest] == job["metadata"]["annotations"][digest]
    assert other["metadata"]["annotations"][digest] != job["metadata"]["annotations"][digest]


@pytest.mark.parametrize("protect", [True, False])
def test_eviction_annotation_follows_protect_from_eviction(protect: bool) -> None:  # noqa: FBT001
    template = the_job(protectFromEviction=protect)["spec"]["template"]
    assert ("karpenter.sh/do-not-disrupt" in template["metadata"]["annotations"]) is protect


def test_termination_grace_period_is_in_the_pod_spec() -> None:
    assert pod_spec()["terminationGracePeriodSeconds"] == 20
    assert pod_spec(stopGraceSec=5)["terminationGracePeriodSeconds"] == 5


def test_relay_gets_uid_of_its_pod_and_of_the_pod_that_may_start() -> None:
    name = the_secret()["metadata"]["name"]
    only = {"name": name, "key": "only-pod", "optional": True}
    assert env()[relay.POD] == {"name": relay.POD, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    assert env()[relay.ONLY_POD] == {"name": relay.ONLY_POD, "valueFrom": {"secretKeyRef": only}}


def test_relay_of_a_plan_without_secret_may_start_in_any_pod() -> None:
    plan = replace(a_plan(), secretless=True, environment=replace(a_plan().environment, secrets={}))
    (container,) = job_manifest(plan)["spec"]["template"]["spec"]["containers"]
    assert plan.secret_data == {}
    assert {"name": relay.ONLY_POD, "value": ""} in container["env"]


@pytest.mark.parametrize("delivery", ["secret", "init"])
def test_config_env_cannot_set_relay_variables(delivery: str) -> None:
    configured = dict.fromkeys((relay.POD, relay.ONLY_POD, relay.OUT), "configured")
    entries = agent(promptDelivery=delivery, env=configured)["env"]
    names = [entry["name"] for entry in entries]
    assert [names.count(name) for name in configured] == [1, 1, 1]
    assert "configured" not in json.dumps(entries)
