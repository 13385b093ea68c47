"""A `podTemplate` may use only the parts of Secrets and claims that Jobs inherit from the host's own Pod."""

import time
from dataclasses import replace
from typing import Any

import pytest
from tests.support.plans import HOME, a_plan

from paperclip_claude_k8s.cluster.model import HomeMount
from paperclip_claude_k8s.cluster.variable_references import expand
from paperclip_claude_k8s.host.config import ConfigInvalid
from paperclip_claude_k8s.host.config_admission import config_refusals
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.sensitive_fields import sensitive_fields
from paperclip_claude_k8s.plan.manifest import job_manifest, pod_template
from paperclip_claude_k8s.plan.pod_admission import plan_refusals, reach_notes
from paperclip_claude_k8s.plan.run_plan import RunPlan

STRICT = Policy(secrets=(), config_maps=(), claims=())
CA: dict[str, Any] = {"secretName": "paperclip", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
INHERITED = replace(
    HOME,
    env=(
        {"name": "MODEL_KEY", "valueFrom": {"secretKeyRef": {"name": "paperclip", "key": "model"}}},
        {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "region"}}},
    ),
    env_from=({"secretRef": {"name": "paperclip"}},),
    mounts=(
        HomeMount(
            "/paperclip", {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}, sub_path="agents"
        ),
        HomeMount(
            "/skills",
            {"name": "v", "persistentVolumeClaim": {"claimName": "data"}},
            sub_path="skills",
            read_only=True,
        ),
        HomeMount("/ca", {"name": "ca", "secret": CA}),
        HomeMount("/key", {"name": "key", "secret": {"secretName": "paperclip"}}, sub_path="model"),
    ),
)
"""The host's own Pod: with a Secret that also holds the host's own secrets, and with parts of a claim."""
HIDDEN = "BETTER_AUTH_SECRET"
"""A secret variable of the host, which the agent must not get."""


def a_plan_with(
    *mounts: dict[str, Any],
    env: tuple[dict[str, Any], ...] = (),
    envFrom: list[dict[str, Any]] | None = None,  # noqa: N803  # as in a Pod
    **spec: Any,
) -> RunPlan:
    """A plan whose `podTemplate` adds this to the agent's container, and `spec` to the Pod spec."""
    agent = {"name": "claude", "env": list(env), "volumeMounts": list(mounts)}
    if envFrom is not None:
        agent["envFrom"] = envFrom
    return a_plan(home=INHERITED, podTemplate={"spec": {"containers": [agent], **spec}})


def refused_by(plan: RunPlan) -> set[str]:
    refusals = (*config_refusals(plan.config, STRICT), *plan_refusals(plan, STRICT))
    return {refusal.field for refusal in refusals}


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (
            a_plan_with(env=({"name": "MODEL_KEY", "valueFrom": {"secretKeyRef": {"key": HIDDEN}}},)),
            "secrets",
        ),
        (
            a_plan_with(env=({"name": "REGION", "valueFrom": {"configMapKeyRef": {"key": "x"}}},)),
            "configMaps",
        ),
        (a_plan_with(envFrom=[{"prefix": "X_", "secretRef": {"name": "paperclip"}}]), "secrets"),
        (a_plan_with(envFrom=[{"configMapRef": {"name": "paperclip"}}]), "configMaps"),
        (a_plan_with(volumes=[{"name": "home-ca", "secret": {"items": None}}]), "secrets"),
        (a_plan_with(volumes=[{"name": "home-ca", "secret": {"items": []}}]), "secrets"),
        (
            a_plan_with(volumes=[{"name": "home-ca", "secret": {"items": [{"key": HIDDEN, "path": "x"}]}}]),
            "secrets",
        ),
        (a_plan_with({"name": "home-key", "mountPath": "/all"}), "secrets"),
        (a_plan_with({"name": "home-key", "mountPath": "/key", "subPath": HIDDEN}), "secrets"),
        (a_plan_with({"name": "home", "mountPath": "/all"}), "claims"),
        (a_plan_with({"name": "home", "mountPath": "/paperclip", "subPath": None}), "claims"),
        (a_plan_with({"name": "home", "mountPath": "/x", "subPath": "database"}), "claims"),
        (a_plan_with({"name": "home", "mountPath": "/x", "subPath": "agents/../database"}), "claims"),
        (a_plan_with({"name": "home", "mountPath": "/x", "subPathExpr": "$(HOME)"}), "claims"),
        (a_plan_with({"name": "home", "mountPath": "/skills", "readOnly": False}), "claims"),
        (
            a_plan_with(
                initContainers=[
                    {"name": "i", "image": "x", "volumeMounts": [{"name": "home", "mountPath": "/a"}]}
                ]
            ),
            "claims",
        ),
    ],
)
def test_template_that_reaches_other_parts_of_inherited_objects_is_refused(plan: RunPlan, field: str) -> None:
    assert refused_by(plan) == {field}


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(home=INHERITED),
        a_plan_with({"name": "home", "mountPath": "/again", "subPath": "agents/work"}),
        a_plan_with({"name": "home", "mountPath": "/again", "subPath": "skills/a", "readOnly": True}),
        a_plan_with({"name": "home-ca", "mountPath": "/etc/ssl/own"}),
        a_plan_with({"name": "home-key", "mountPath": "/etc/key", "subPath": "model"}),
        a_plan_with(
            {"name": "scratch-2", "mountPath": "/x"}, volumes=[{"name": "scratch-2", "emptyDir": {}}]
        ),
        a_plan_with({"name": "home", "mountPath": "/x"}, volumes=[{"name": "home", "emptyDir": {}}]),
        a_plan_with(env=({"name": "REGION", "value": "eu"},)),
    ],
)
def test_template_that_uses_what_is_inherited_is_allowed(plan: RunPlan) -> None:
    assert refused_by(plan) == set()


@pytest.mark.parametrize(
    "entry",
    [
        {"name": HIDDEN, "$patch": "delete"},
        {"name": HIDDEN, "valueFrom": {"secretKeyRef": {"key": "nowhere", "optional": True}}},
        {"name": HIDDEN, "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": True}}},
    ],
)
def test_template_does_not_uncover_a_secret_of_the_host(entry: dict[str, Any]) -> None:
    plan = a_plan_with(env=(entry,))
    (agent,) = job_manifest(plan)["spec"]["template"]["spec"]["containers"]
    entries = [variable for variable in agent["env"] if variable["name"] == HIDDEN]
    reference = {"name": plan.secret_name, "key": f"env.{HIDDEN}"}
    assert entries == [{"name": HIDDEN, "valueFrom": {"secretKeyRef": reference}}]
    assert plan.secret_data[f"env.{HIDDEN}"] == ""
    assert any(HIDDEN in note and "not overridden" in note for note in plan.notes)


def values_in_pod(plan: RunPlan, inherited: dict[str, str]) -> dict[str, str]:
    """The variables of the agent's container as the kubelet resolves them, `envFrom` first, then in order."""
    (agent,) = job_manifest(plan)["spec"]["template"]["spec"]["containers"]
    values = dict(inherited)
    for entry in agent["env"]:
        key = entry.get("valueFrom", {}).get("secretKeyRef", {}).get("key", "")
        value = expand(entry.get("value", ""), values)
        values[entry.get("name", "")] = plan.secret_data.get(key, "") if key else value
    return values


REFERENCE = f"$({HIDDEN})"


@pytest.mark.parametrize(
    "env",
    [
        [{"name": HIDDEN, "value": REFERENCE}],
        [{"name": HIDDEN, "value": f"x $$ $$$({HIDDEN})"}],
        [{"name": HIDDEN, "$patch": "delete"}, {"name": "LEAK", "value": REFERENCE}],
        [{"name": "LEAK", "value": REFERENCE}, {"name": HIDDEN, "value": "$(LEAK)"}],
        [{"name": "NODE_ENV", "value": REFERENCE}],
        [{"name": "AAA", "value": REFERENCE}],
        [{"$patch": "replace"}, {"name": "LEAK", "value": REFERENCE}],
        [{"$patch": "replace"}, {"name": "LEAK", "value": REFERENCE}, {"name": HIDDEN, "value": "mine"}],
        [{"name": "DATABASE_URL", "value": REFERENCE}, {"name": HIDDEN, "$patch": "delete"}],
        [{"name": "PAPERCLIP_X", "value": REFERENCE}],
    ],
)
@pytest.mark.parametrize("replaced", ["nothing", "container", "containers", "spec"])
def test_no_variable_of_the_template_resolves_to_a_secret_of_the_host(
    env: list[dict[str, Any]], replaced: str
) -> None:
    home = replace(INHERITED, env=(*INHERITED.env, {"name": "NODE_ENV", "value": "production"}))
    from_home = job_manifest(a_plan(home=home))["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    agent: dict[str, Any] = {"name": "claude", "image": "x", "envFrom": from_home, "env": env}
    spec: dict[str, Any] = {"containers": [agent]}
    if replaced == "container":
        agent["$patch"] = "replace"
    elif replaced == "containers":
        spec["containers"].append({"$patch": "replace"})
    elif replaced == "spec":
        spec["$patch"] = "replace"
    plan = a_plan(home=home, env={"AAA": "1"}, podTemplate={"spec": spec})
    values = values_in_pod(plan, {HIDDEN: "leaked", "DATABASE_URL": "leaked"})
    assert not any("leaked" in value for value in values.values())


ODD_NAMES: list[Any] = [["x"], {}, {"a": [{"$patch": "delete"}]}, None, 1.5]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("part", ["containers", "initContainers", "volumes", "env", "volumeMounts"])
@pytest.mark.parametrize("directive", [{}, {"$patch": "replace"}])
def test_template_with_odd_names_is_invalid(name: object, part: str, directive: dict[str, Any]) -> None:
    odd = {part: [{"name": name, "mountPath": name, "image": "x"}], **directive}
    is_spec = part in {"containers", "initContainers", "volumes"}
    spec = odd if is_spec else {"containers": [{"name": "claude", "image": "x", **odd}], **directive}
    with pytest.raises(ConfigInvalid, match=part):
        a_plan(podTemplate={"spec": spec})


def test_directives_in_a_replaced_part_add_no_items() -> None:
    directives = [{"$patch": "delete"}, {"$patch": "replace"}, {"name": "x", "$patch": "delete"}]
    parts = {"initContainers": directives, "volumes": directives}
    spec = pod_template(a_plan())["spec"]
    plan = a_plan(podTemplate={"spec": {"$patch": "replace", "containers": spec["containers"], **parts}})
    made = job_manifest(plan)["spec"]["template"]["spec"]
    assert not made.get("initContainers")
    assert [volume["name"] for volume in made["volumes"]] == ["run"]


def test_template_may_refer_to_variables_that_the_adapter_sets() -> None:
    values = values_in_pod(a_plan_with(env=({"name": "BIN", "value": "$(HOME)/bin"},)), {})
    assert values["BIN"] == "/paperclip/bin"


@pytest.mark.parametrize("optional", [True, False])
def test_reference_to_nothing_in_env_does_not_uncover_a_secret_of_the_host(*, optional: bool) -> None:
    reference = {"configMapKeyRef": {"name": "x", "key": "y", "optional": optional}}
    plan = a_plan(home=INHERITED, env={HIDDEN: {"valueFrom": reference}})
    (agent,) = job_manifest(plan)["spec"]["template"]["spec"]["containers"]
    (entry,) = [variable for variable in agent["env"] if variable["name"] == HIDDEN]
    hidden = {"secretKeyRef": {"name": plan.secret_name, "key": f"env.{HIDDEN}"}}
    # with the other reference, the container does not start
    assert entry["valueFrom"] == (hidden if optional else reference)


def test_template_may_set_a_hidden_variable_to_its_own_value() -> None:
    plan = a_plan_with(env=({"name": "DATABASE_URL", "value": "sqlite:///test"},))
    (agent,) = job_manifest(plan)["spec"]["template"]["spec"]["containers"]
    assert {"name": "DATABASE_URL", "value": "sqlite:///test"} in agent["env"]


def test_reach_notes_name_claims_of_which_the_pod_reaches_other_parts() -> None:
    plan = a_plan_with({"name": "home", "mountPath": "/all"})
    assert "podTemplate lets the agent's Pod use volume claims: data" in [*reach_notes(plan)]
    assert [*reach_notes(a_plan(home=INHERITED))] == []


def test_reach_notes_name_an_inherited_secret_whose_prefix_changes() -> None:
    note = "podTemplate lets the agent's Pod use Secrets that are not of this run: paperclip"
    assert note in [*reach_notes(a_plan_with(envFrom=[{"prefix": "X_", "secretRef": {"name": "paperclip"}}]))]
    assert [*reach_notes(a_plan_with(envFrom=[{"secretRef": {"name": "paperclip"}}]))] == []


def test_many_mounts_of_a_volume_with_many_items_are_examined_in_little_time() -> None:
    items = [{"key": f"k{number}", "path": f"p{number}"} for number in range(420)]
    mounts = [{"name": "home-key", "mountPath": f"/{number}"} for number in range(420)]
    began = time.process_time()
    plan = a_plan_with(*mounts, volumes=[{"name": "home-key", "secret": {"items": items}}])
    assert refused_by(plan) == {"secrets"}
    assert time.process_time() - began < 0.8  # the first version of this code took 2.4 s


def test_long_keys_are_examined_in_little_memory() -> None:
    """In the first version of this code, the paths of all fields in an object with a long key took 57 MB."""
    template = {"spec": {"K" * 96_000: {f"a{number}": {"privileged": True} for number in range(600)}}}
    found = [*sensitive_fields(template)]
    assert len(found) == 600
    assert max(len(field.path) for field in found) < 200
