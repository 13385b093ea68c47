"""The Job as it goes to the API server: safe by default, nothing secret in it, ours to find again."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.plans import HOME, a_context, a_plan, the_job, the_secret

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.plan.delivery import escaped
from paperclip_claude_k8s.plan.manifest import job_manifest


def pod_spec(**config: Any) -> dict[str, Any]:
    spec: dict[str, Any] = the_job(**config)["spec"]["template"]["spec"]
    return spec


def agent(**config: Any) -> dict[str, Any]:
    (container,) = pod_spec(**config)["containers"]
    return dict(container)


def env(**config: Any) -> dict[str, Any]:
    """Name → entry; the last of a name wins, as in the kubelet."""
    return {entry["name"]: entry for entry in agent(**config)["env"]}


def test_it_meets_the_restricted_pod_security_standard() -> None:
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


def test_a_large_volume_is_not_chowned_file_by_file() -> None:
    assert pod_spec()["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_one_pod_and_one_try() -> None:
    job = the_job()["spec"]
    assert (job["backoffLimit"], job["podReplacementPolicy"]) == (0, "Failed")
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["ttlSecondsAfterFinished"] == 3600
    assert "activeDeadlineSeconds" not in job


def test_the_deadline_outlasts_all_waiting() -> None:
    job = the_job(timeoutSec=600, graceSec=30)["spec"]
    assert job["activeDeadlineSeconds"] == 120 + 900 + 120 + 600 + 30


def test_every_scratch_volume_is_bounded() -> None:
    for volume in pod_spec(home=None)["volumes"]:
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]


def test_no_secret_value_stands_in_the_job() -> None:
    wishes: dict[str, Any] = {"env": {"MY_PASSWORD": "canary-password", "PLAIN": "shown"}}
    job = json.dumps(the_job(**wishes))
    assert "canary" not in job
    assert "shown" in job
    secret = the_secret(**wishes)
    assert secret["stringData"]["env.MY_PASSWORD"] == "canary-password"
    assert secret["stringData"]["env.PAPERCLIP_API_KEY"] == "canary-token"


def test_secret_env_values_are_no_files_for_the_agent() -> None:
    (run,) = [volume for volume in pod_spec(env={"A_TOKEN": "x"})["volumes"] if volume["name"] == "run"]
    assert [item["key"] for item in run["secret"]["items"]] == ["prompt.txt"]


def test_the_secret_is_owned_by_its_job_from_the_first_moment() -> None:
    (owner,) = the_secret()["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": "uid-1"}


def test_text_that_looks_like_a_variable_of_kubernetes_stays_as_it_is() -> None:
    assert escaped("$(HOME) $$ $x") == "$$(HOME) $$$$ $$x"
    assert env(env={"PRICE": "$(NOT_A_REF)"})["PRICE"]["value"] == "$$(NOT_A_REF)"
    assert agent(extraArgs=["--x", "$(y)"])["command"][-1] == "$$(y)"


def test_the_agent_gets_its_arguments_as_they_are() -> None:
    command = agent(model="opus", extraArgs=["--flag", "two words 'quoted'"])["command"]
    assert command[:2] == ["sh", "-c"]
    assert command[2].replace("$$", "$") == relay.script()
    assert command[4:] == [
        *("claude", "--print", "--output-format", "stream-json", "--verbose"),
        *("--dangerously-skip-permissions", "--model", "opus", "--flag", "two words 'quoted'"),
    ]


def test_root_gets_a_list_of_tools_since_the_cli_refuses_the_flag() -> None:
    command = agent(runAsUser=0)["command"]
    assert "--dangerously-skip-permissions" not in command
    assert "--allowedTools" in command
    assert pod_spec(runAsUser=0)["securityContext"]["runAsNonRoot"] is False


def test_what_the_home_pod_has_is_inherited_and_the_config_wins() -> None:
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


def test_the_shared_volume_is_the_home_of_the_agent() -> None:
    (home,) = [volume for volume in pod_spec()["volumes"] if volume["name"] == "home"]
    assert home["persistentVolumeClaim"] == {"claimName": HOME.claim_name}
    assert {"name": "home", "mountPath": "/paperclip"} in agent()["volumeMounts"]


def test_user_labels_never_take_the_place_of_ours() -> None:
    mine = {"team": "blue", "paperclip.io/agent-id": "other", "app.kubernetes.io/component": "x"}
    labels = the_job(labels=mine)["metadata"]["labels"]
    assert labels["team"] == "blue"
    assert labels["paperclip.io/agent-id"] == "ada"
    assert labels["app.kubernetes.io/component"] == "agent-job"


def test_a_queue_suspends_the_job_until_it_is_admitted() -> None:
    job = the_job(queueName="night")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "night"


def test_it_is_found_again_by_its_labels_and_its_wake() -> None:
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
def test_autoscalers_leave_a_paid_run_alone(protect: bool) -> None:  # noqa: FBT001
    template = the_job(protectFromEviction=protect)["spec"]["template"]
    assert ("karpenter.sh/do-not-disrupt" in template["metadata"]["annotations"]) is protect


def test_the_pod_gets_the_grace_that_a_deletion_cannot_give() -> None:
    assert pod_spec()["terminationGracePeriodSeconds"] == 20
    assert pod_spec(stopGraceSec=5)["terminationGracePeriodSeconds"] == 5


def test_each_relay_learns_its_pod_and_which_pod_alone_may_start_the_agent() -> None:
    name = the_secret()["metadata"]["name"]
    only = {"name": name, "key": "only-pod", "optional": True}
    assert env()[relay.POD] == {"name": relay.POD, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    assert env()[relay.ONLY_POD] == {"name": relay.ONLY_POD, "valueFrom": {"secretKeyRef": only}}


def test_without_a_secret_no_pod_is_the_only_one() -> None:
    plan = replace(a_plan(), secretless=True, environment=replace(a_plan().environment, secrets={}))
    (container,) = job_manifest(plan)["spec"]["template"]["spec"]["containers"]
    assert plan.secret_data == {}
    assert {"name": relay.ONLY_POD, "value": ""} in container["env"]


@pytest.mark.parametrize("how", ["secret", "init"])
def test_no_setting_speaks_to_the_relay_in_our_place(how: str) -> None:
    theirs = dict.fromkeys((relay.POD, relay.ONLY_POD, relay.OUT), "theirs")
    given = agent(promptDelivery=how, env=theirs)["env"]
    names = [entry["name"] for entry in given]
    assert [names.count(name) for name in theirs] == [1, 1, 1]
    assert "theirs" not in json.dumps(given)
