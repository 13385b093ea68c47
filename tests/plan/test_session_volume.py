"""Where sessions are kept: the Pod's volumes and variables, names of claims, and which session is resumed."""

from typing import Any

import pytest
from tests.support.plans import HOME, a_context, a_plan, the_job

from paperclip_claude_k8s.cluster.labels import ADAPTER_LABEL, AGENT_LABEL, SESSION_CLAIM_LABEL
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, HomePod
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.plan.identity import Identity, identify
from paperclip_claude_k8s.plan.paths import CACHE_DIR, CONFIG_DIR, SESSION_DIR
from paperclip_claude_k8s.plan.session_volume import (
    ClaimFacts,
    SessionVolume,
    agent_folder,
    choose_session_volume,
    claim_manifest,
    claim_name,
    session_volume_notes,
)

SESSION = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def identity(agent: str = "ada", company: str | None = "co") -> Identity:
    found = identify(a_context(agent={"id": agent, "companyId": company}))
    assert found is not None
    return found


def choose(facts: ClaimFacts | None = None, home: HomePod | None = None, **config: Any) -> SessionVolume:
    return choose_session_volume(AdapterConfig.read(config), identity(), home, facts or ClaimFacts())


def claim(*modes: str) -> ClaimFacts:
    """What is known of a claim that exists and has these access modes."""
    return ClaimFacts(ClaimSnapshot("ns", "c", "uid", access_modes=modes), readable=True)


def pod_of(**options: Any) -> dict[str, Any]:
    spec: dict[str, Any] = the_job(**options)["spec"]["template"]["spec"]
    return spec


def agents_env(spec: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in spec["containers"][0]["env"]}


def mount_at(spec: dict[str, Any], path: str) -> dict[str, Any]:
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == path]
    return dict(mount)


def volume_named(spec: dict[str, Any], name: str) -> dict[str, Any]:
    (volume,) = [v for v in spec["volumes"] if v["name"] == name]
    return dict(volume)


def test_shared_sessions_stay_in_home_on_the_shared_volume() -> None:
    spec = pod_of()
    assert "CLAUDE_CONFIG_DIR" not in agents_env(spec)
    assert [v["name"] for v in spec["volumes"]] == ["run", "scratch", "home"]


@pytest.mark.parametrize("value", ["auto", "my-claim"])
def test_claim_shows_the_agent_only_its_own_folder(value: str) -> None:
    spec = pod_of(sessionVolume=value)
    name = claim_name(AdapterConfig.read({}), identity()) if value == "auto" else value
    assert volume_named(spec, "session")["persistentVolumeClaim"] == {"claimName": name}
    mount = mount_at(spec, SESSION_DIR)
    assert mount == {
        "name": "session",
        "mountPath": SESSION_DIR,
        "subPath": f"{agent_folder(identity())}/session",
    }
    env = agents_env(spec)
    assert (env["CLAUDE_CONFIG_DIR"], env["XDG_CACHE_HOME"]) == (CONFIG_DIR, CACHE_DIR)


def test_session_volume_none_keeps_sessions_out_of_the_shared_home() -> None:
    spec = pod_of(sessionVolume="none")
    assert volume_named(spec, "session") == {"name": "session", "emptyDir": {"sizeLimit": "20Gi"}}
    assert agents_env(spec)["CLAUDE_CONFIG_DIR"] == CONFIG_DIR
    assert volume_named(spec, "home")["persistentVolumeClaim"] == {"claimName": "data"}


def test_variables_of_the_session_volume_override_the_config_and_are_reported() -> None:
    plan = a_plan(sessionVolume="auto", env={"CLAUDE_CONFIG_DIR": "/elsewhere", "OTHER": "1"})
    assert "Ignored config env, because sessionVolume sets it: CLAUDE_CONFIG_DIR" in plan.notes
    spec = pod_of(sessionVolume="auto", env={"CLAUDE_CONFIG_DIR": "/elsewhere"})
    assert agents_env(spec)["CLAUDE_CONFIG_DIR"] == CONFIG_DIR


@pytest.mark.parametrize("value", ["a b", "UPPER", "../x", "-a", "a" * 254, 7, "a/b"])
def test_session_volume_that_is_no_claim_name_is_refused(value: object) -> None:
    with pytest.raises(ConfigInvalid, match="shared, auto, none, or the name of a claim"):
        AdapterConfig.read({"sessionVolume": value})


@pytest.mark.parametrize("size", ["0", "-1Gi", "big", {}])
def test_session_volume_size_must_be_above_zero(size: object) -> None:
    with pytest.raises(ConfigInvalid, match="config.sessionVolumeSize: expected a quantity of bytes above 0"):
        AdapterConfig.read({"sessionVolumeSize": size})


def test_ids_that_share_a_label_value_have_different_claims_and_folders() -> None:
    config = AdapterConfig.read({})
    one, other = identity("Agent One"), identity("AgentOne")
    assert one.agent == other.agent
    assert claim_name(config, one) != claim_name(config, other)
    assert agent_folder(one) != agent_folder(other)


def test_companies_do_not_share_claims_or_folders() -> None:
    per_company = AdapterConfig.read({"sessionVolumePer": "company"})
    assert claim_name(per_company, identity("a", "x")) == claim_name(per_company, identity("b", "x"))
    assert claim_name(per_company, identity("a", "x")) != claim_name(per_company, identity("a", "y"))
    assert agent_folder(identity("a", "x")) != agent_folder(identity("a", "y"))
    # the claim of company x is not that of an agent with the id x
    assert claim_name(per_company, identity("a", "x")) != claim_name(
        AdapterConfig.read({}), identity("x", "x")
    )


@pytest.mark.parametrize("hostile", ["../../etc", "a/b", "A" * 500, "ß-1", "a\x00b", "..1"])
def test_folder_of_any_id_stays_in_the_claim(hostile: str) -> None:
    folder = agent_folder(identity(hostile, hostile))
    parts = folder.split("/")
    assert len(parts) == 3
    assert all(part not in {"", ".", ".."} and len(part) <= 63 for part in parts)
    assert len(claim_name(AdapterConfig.read({}), identity(hostile))) <= 63


def test_claim_manifest_follows_the_config_and_has_no_owner() -> None:
    config = AdapterConfig.read(
        {
            "sessionVolume": "auto",
            "sessionVolumeSize": "3Gi",
            "sessionVolumeClass": "fast",
            "sessionVolumeAccessMode": "ReadWriteMany",
            "labels": {"team": "blue"},
        }
    )
    manifest: Any = claim_manifest(config, identity(), "ns", {"paperclip.io/last-used": "now"})
    assert "ownerReferences" not in manifest["metadata"]
    assert (
        manifest["metadata"]["labels"].items()
        >= {
            "team": "blue",
            AGENT_LABEL: "ada",
            ADAPTER_LABEL: "claude_k8s",
        }.items()
    )
    assert manifest["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": "fast",
    }


@pytest.mark.parametrize(
    ("config", "facts", "one_node"),
    [
        ({"sessionVolume": "auto"}, ClaimFacts(), False),
        ({"sessionVolume": "auto", "sessionVolumePer": "company"}, ClaimFacts(), True),
        ({"sessionVolume": "auto", "concurrencyScope": "task"}, ClaimFacts(), True),
        (
            {
                "sessionVolume": "auto",
                "concurrencyScope": "task",
                "sessionVolumeAccessMode": "ReadWriteMany",
            },
            ClaimFacts(),
            False,
        ),
        ({"sessionVolume": "auto", "concurrencyScope": "task"}, claim("ReadWriteMany"), False),
        ({"sessionVolume": "c"}, claim("ReadWriteOnce"), True),
        ({"sessionVolume": "c"}, claim("ReadWriteOnce", "ReadWriteMany"), False),
        ({"sessionVolume": "c"}, ClaimFacts(), False),
    ],
)
def test_pods_share_a_node_only_where_the_claim_needs_it(
    config: dict[str, Any], facts: ClaimFacts, *, one_node: bool
) -> None:
    assert choose(facts, **config).one_node is one_node


def test_affinity_for_one_node_is_added_to_the_affinity_of_the_home_pod() -> None:
    inherited = {
        "nodeAffinity": {"x": 1},
        "podAffinity": {REQUIRED: [{"topologyKey": "zone"}]},
        "podAntiAffinity": {"y": 2},
    }
    home = HomePod(namespace="ns", name="p", image="i", claim_name="data", affinity=inherited)
    job = the_job(home=home, sessionVolume="auto", sessionVolumePer="company")
    template = job["spec"]["template"]
    affinity = template["spec"]["affinity"]
    from_home, ours = affinity["podAffinity"][REQUIRED]
    assert from_home == {"topologyKey": "zone"}
    assert ours["topologyKey"] == "kubernetes.io/hostname"
    selected = ours["labelSelector"]["matchLabels"]
    assert selected.items() <= template["metadata"]["labels"].items()
    assert SESSION_CLAIM_LABEL in selected
    assert (affinity["nodeAffinity"], affinity["podAntiAffinity"]) == ({"x": 1}, {"y": 2})


@pytest.mark.parametrize(
    ("config", "home", "facts", "why"),
    [
        ({"sessionVolume": "none"}, HOME, ClaimFacts(), "sessionVolume is none"),
        ({}, None, ClaimFacts(), "sessionVolume is shared, and no claim is mounted at /paperclip"),
        (
            {"sessionVolume": "auto"},
            HOME,
            ClaimFacts(forbidden="claims are forbidden"),
            "sessionVolume is auto, but claims are forbidden",
        ),
    ],
)
def test_reason_is_given_why_sessions_end_with_their_pod(
    config: dict[str, Any], home: HomePod | None, facts: ClaimFacts, why: str
) -> None:
    volume = choose(facts, home, **config)
    assert volume.why_lost == why
    assert not volume.may_have_sessions


@pytest.mark.parametrize(
    "template",
    [
        {"spec": {"volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "mine"}}]}},
        {"spec": {"containers": [{"name": "claude", "volumeMounts": [{"mountPath": "/paperclip/.claude"}]}]}},
        {"spec": {"containers": [{"name": "claude", "volumeMounts": [{"mountPath": "/paperclip/"}]}]}},
    ],
)
def test_pod_template_with_a_volume_at_home_counts_as_keeping_sessions(template: dict[str, Any]) -> None:
    assert choose(podTemplate=template).why_lost == ""


def resuming(volume: str | None, **config: Any) -> Any:
    """The plan of a run whose stored session names this session volume."""
    params = {"sessionId": SESSION, "cwd": "/paperclip", **({"sessionVolume": volume} if volume else {})}
    return a_plan(a_context(runtime={"sessionParams": params}), **config)


AUTO_NAME = claim_name(AdapterConfig.read({}), identity())


@pytest.mark.parametrize(
    ("stored", "config", "why_fresh"),
    [
        (None, {}, ""),
        (AUTO_NAME, {"sessionVolume": "auto"}, ""),
        (None, {"sessionVolume": "none"}, "sessionVolume is none"),
        ("none", {"sessionVolume": "auto"}, "it ended with its Pod, because sessionVolume was none"),
        (None, {"sessionVolume": "c"}, "it is on another volume (the shared volume, now c)"),
        ("c", {}, "it is on another volume (c, now the shared volume)"),
        (None, {"home": None}, "sessionVolume is shared, and no claim is mounted at /paperclip"),
    ],
)
def test_session_is_resumed_only_from_the_volume_that_has_it(
    stored: str | None, config: dict[str, Any], why_fresh: str
) -> None:
    plan = resuming(stored, **config)
    assert plan.resume == (None if why_fresh else SESSION)
    assert plan.why_fresh == why_fresh


def test_session_id_alone_is_resumed_on_a_claim() -> None:
    plan = a_plan(a_context(runtime={"sessionId": SESSION}), sessionVolume="auto")
    assert plan.resume == SESSION


def test_difference_between_claim_and_config_is_reported() -> None:
    # the class differs, and 1024Mi is as much as 1Gi
    snapshot = ClaimSnapshot(
        "ns", AUTO_NAME, "u", access_modes=("ReadWriteOnce",), storage_class="slow", size="1024Mi"
    )
    config = AdapterConfig.read(
        {"sessionVolume": "auto", "sessionVolumeSize": "1Gi", "sessionVolumeClass": "fast"}
    )
    facts = ClaimFacts(snapshot, readable=True)
    volume = choose(facts, sessionVolume="auto")
    notes = list(session_volume_notes(config, volume, facts))
    assert notes == [f"Claim {AUTO_NAME} exists with sessionVolumeClass slow, not fast: it is used as it is"]
