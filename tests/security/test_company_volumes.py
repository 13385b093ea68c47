"""With the policy's `companyVolumes`, no run mounts or uploads another company's part of the volume."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import HOME, a_plan

from paperclip_claude_k8s.cluster.model import HomeMount, HomePod
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.plan.manifest import pod_template
from paperclip_claude_k8s.plan.pod_admission import plan_refusals
from paperclip_claude_k8s.plan.workspace import Workspace
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.home_pod import with_claim
from paperclip_claude_k8s.run.packed_upload import upload_rule
from paperclip_claude_k8s.volume.company_folders import make_company_folder

FOLDER = "companies/co"
POLICY = Policy(company_volumes=True)
HOME_AT_A = {"name": "home", "mountPath": "/a"}
DATA_VOLUME: dict[str, object] = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
OTHER_VOLUME: dict[str, object] = {"name": "o", "persistentVolumeClaim": {"claimName": "other"}}
DATA_CLAIM = {"kind": "PersistentVolumeClaim", "name": "data"}


def with_mount(**fields: Any) -> dict[str, Any]:
    """A template that adds a mount to the agent's container."""
    return {"spec": {"containers": [{"name": "claude", "volumeMounts": [fields]}]}}


def with_volume(source: dict[str, Any]) -> dict[str, Any]:
    """A template that adds a volume, and mounts all of it."""
    template = with_mount(name="more", mountPath="/more")
    template["spec"]["volumes"] = [{"name": "more", **source}]
    return template


def test_only_the_companys_folder_is_mounted() -> None:
    home = replace(
        HOME, mounts=(HomeMount("/paperclip", DATA_VOLUME, sub_path="sub"), HomeMount("/all", DATA_VOLUME))
    )
    plan = replace(a_plan(home=home), company_folder=FOLDER)
    (container,) = pod_template(plan)["spec"]["containers"]
    mounts = [entry for entry in container["volumeMounts"] if entry["name"] == "home"]
    assert mounts == [{"name": "home", "mountPath": "/paperclip", "subPath": f"sub/{FOLDER}"}]


@pytest.mark.parametrize(
    "template",
    [
        with_mount(name="home", mountPath="/all"),
        with_mount(name="home", mountPath="/all", subPath=""),
        with_mount(name="home", mountPath="/paperclip", subPath="companies"),
        with_mount(name="home", mountPath="/paperclip", subPath="companies/other"),
        with_mount(name="home", mountPath="/all", subPath=f"{FOLDER}/../other"),
        with_mount(name="home", mountPath="/all", subPathExpr="$(X)"),
        {"spec": {"initContainers": [{"name": "i", "image": "x", "volumeMounts": [HOME_AT_A]}]}},
        with_volume({"ephemeral": {"volumeClaimTemplate": {"spec": {"dataSource": DATA_CLAIM}}}}),
        {
            "spec": {
                "volumes": [{"name": "again", "persistentVolumeClaim": {"claimName": "data"}}],
                "containers": [{"name": "claude", "volumeMounts": [{"name": "again", "mountPath": "/a"}]}],
            }
        },
    ],
)
def test_template_that_mounts_more_than_the_companys_folder_is_refused(template: dict[str, Any]) -> None:
    plan = replace(a_plan(podTemplate=template), company_folder=FOLDER)
    assert "companyVolumes" in {refusal.field for refusal in plan_refusals(plan, POLICY)}


@pytest.mark.parametrize(
    ("template", "config"),
    [
        (with_volume({"persistentVolumeClaim": {"claimName": "ac-sessions-other-0123456789"}}), {}),
        (with_volume({"persistentVolumeClaim": {"claimName": "pool"}}), {"sessionVolume": "pool"}),
        (with_mount(name="session", mountPath="/all"), {"sessionVolume": "pool"}),
        (with_mount(name="session", mountPath="/all", subPath="agents"), {"sessionVolume": "pool"}),
    ],
)
def test_template_that_mounts_sessions_of_others_is_refused(
    template: dict[str, Any], config: dict[str, Any]
) -> None:
    home = replace(HOME, mounts=(HomeMount("/paperclip", DATA_VOLUME),))
    plan = replace(a_plan(podTemplate=template, home=home, **config), company_folder=FOLDER)
    assert "companyVolumes" in {refusal.field for refusal in plan_refusals(plan, POLICY)}
    assert plan_refusals(plan, Policy()) == ()


def test_template_that_mounts_only_the_companys_folder_is_allowed() -> None:
    template = with_mount(name="home", mountPath="/again", subPath=FOLDER)
    assert plan_refusals(replace(a_plan(podTemplate=template), company_folder=FOLDER), POLICY) == ()


@pytest.mark.parametrize("config", [{}, {"claimName": "mine"}])
@pytest.mark.parametrize(
    "home",
    [
        None,
        replace(HOME, claim_name="", mounts=()),
        replace(HOME, claim_name="", mounts=(HomeMount("/other", OTHER_VOLUME),)),
    ],
)
def test_all_claims_are_refused_if_the_shared_claim_is_unknown(
    config: dict[str, Any], home: HomePod | None
) -> None:
    """The host's own Pod mounts no claim, so any claim may be the one that companies share."""
    template = with_volume({"persistentVolumeClaim": {"claimName": "data"}})
    used_home = with_claim(home, "mine") if config else home
    plan = replace(
        a_plan(podTemplate=template, home=used_home, **config), company_folder=FOLDER if config else ""
    )
    assert [refusal.field for refusal in plan_refusals(plan, POLICY)] == ["claims"]
    named = Policy(company_volumes=True, claims=("data", "mine"))
    assert plan_refusals(plan, named) == ()
    assert plan_refusals(plan, Policy()) == ()


def test_new_company_folder_gets_the_mode_of_the_volume_and_keeps_a_later_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    folder = Path(make_company_folder(str(tmp_path), FOLDER))
    assert folder == tmp_path / FOLDER
    assert folder.stat().st_mode == tmp_path.stat().st_mode
    folder.chmod(0o700)
    make_company_folder(str(tmp_path), FOLDER)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_company_folder_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "companies").symlink_to(tmp_path)
    with pytest.raises(OSError):  # noqa: PT011  # which one depends on the system
        make_company_folder(str(tmp_path / "volume"), FOLDER)
    assert [path.name for path in tmp_path.iterdir()] == ["volume"]


def test_folder_of_another_company_is_not_uploaded(tmp_path: Path) -> None:
    """Without a company folder in the plan, every folder of the shared volume may be uploaded."""
    mine, other = tmp_path / FOLDER / "project", tmp_path / "companies" / "other" / "project"
    policy = Policy(company_volumes=True, shared_volume_dirs=(str(tmp_path),))
    mounts = {"volume_here": str(tmp_path), "sharedVolumeDir": str(tmp_path)}
    settings, plan = ProcessSettings(policy=policy), a_plan(**mounts)  # type: ignore[arg-type]
    assert upload_rule(plan, settings).allows(str(other))
    inside = replace(plan, company_folder=FOLDER, volume_here=str(tmp_path / FOLDER))
    assert upload_rule(inside, settings).allows(str(mine))
    assert not upload_rule(inside, settings).allows(str(other))


def test_link_on_the_volume_permits_no_upload_from_elsewhere(tmp_path: Path) -> None:
    """An agent that can write to the volume can put a link in place of its workspace."""
    volume, elsewhere = tmp_path / "volume", tmp_path / "elsewhere"
    (volume / "project").mkdir(parents=True)
    elsewhere.mkdir()
    policy = Policy(upload_roots=(str(tmp_path),), shared_volume_dirs=(str(volume),))
    settings, plan = ProcessSettings(policy=policy), a_plan(sharedVolumeDir=str(volume))
    on_volume = replace(
        plan, workspace=Workspace("upload", workdir="/w", reason="why", folder=str(volume / "project"))
    )
    rule = upload_rule(on_volume, settings)
    assert rule.allows(str(volume / "project"))
    assert not rule.allows(str(elsewhere))
    not_on_volume = replace(
        plan, workspace=Workspace("upload", workdir="/w", reason="why", folder=str(elsewhere))
    )
    assert upload_rule(not_on_volume, settings).allows(str(elsewhere))
