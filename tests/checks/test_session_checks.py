"""What the environment test says about sessions before the first run."""

from typing import Any

import pytest
from tests.checks.harness import Harness

from paperclip_claude_k8s.devcluster.kinds import CLAIMS, JOBS
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.host.checkup import Check, Checkup
from paperclip_claude_k8s.testing import NAMESPACE

pytestmark = pytest.mark.looptime
AUTO = {"sessionVolume": "auto"}  # each agent gets a claim


def session_checks(checkup: Checkup) -> list[Check]:
    return [check for check in checkup.checks if check.code.startswith("k8s_session_volume")]


def create_claim(harness: Harness, name: str, *modes: str) -> None:
    spec = {"accessModes": list(modes), "resources": {"requests": {"storage": "1Gi"}}}
    harness.fake.store.create(CLAIMS, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})


async def test_session_volume_none_reports_that_sessions_are_not_resumed(harness: Harness) -> None:
    checkup = await harness.test({"sessionVolume": "none"})
    (check,) = session_checks(checkup)
    assert (check.code, check.level) == ("k8s_session_volume_none", "info")
    assert check.message == "Sessions are not resumed: sessionVolume is none"
    assert checkup.status == "pass"


async def test_missing_shared_claim_reports_that_sessions_are_not_resumed(harness: Harness) -> None:
    harness.home = {"containers": [{"name": "paperclip", "image": "x"}]}
    checkup = await harness.test({"kubeconfig": "fake", "image": "x"})
    (check,) = [check for check in checkup.checks if check.code == "k8s_pvc_not_detected"]
    assert "sessions are not resumed" in check.message
    assert "`sessionVolume` to auto" in (check.hint or "")


async def test_claim_of_session_volume_auto_is_tried_without_being_created(harness: Harness) -> None:
    checkup = await harness.test({**AUTO, "sessionVolumeSize": "3Gi"})
    (check,) = session_checks(checkup)
    assert (check.code, check.level) == ("k8s_session_volume_auto", "info")
    assert "3Gi, ReadWriteOnce" in check.message
    (granted,) = [check for check in checkup.checks if check.code == "k8s_rbac_granted"]
    assert "create persistentvolumeclaims, patch persistentvolumeclaims" in (granted.detail or "")
    assert [claim["metadata"]["name"] for claim in harness.fake.store.list(CLAIMS)] == ["paperclip-data"]


async def test_probe_with_session_volume_auto_creates_no_claim(harness: Harness) -> None:
    checkup = await harness.test(AUTO, probe=True)
    assert any(check.code.startswith("k8s_probe_") for check in checkup.checks)
    assert [claim["metadata"]["name"] for claim in harness.fake.store.list(CLAIMS)] == ["paperclip-data"]
    assert list(harness.fake.store.list(JOBS)) == []


async def test_rights_to_claims_are_not_examined_for_session_volume_none(harness: Harness) -> None:
    checkup = await harness.test({"sessionVolume": "none"})
    assert "k8s_rbac_pvc_create" not in {check.code for check in checkup.checks}


async def test_missing_right_to_create_claims_is_a_warning(harness: Harness) -> None:
    harness.fake.faults.denied.add(("create", "persistentvolumeclaims"))
    checkup = await harness.test(AUTO)
    (check,) = [check for check in checkup.checks if check.code == "k8s_rbac_pvc_create"]
    assert check.level == "warn"
    assert "sessions are not resumed" in check.message
    assert session_checks(checkup) == []


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("exceeded quota: storage, requested: requests.storage=10Gi", "warn"),
        ('admission webhook "w" denied the request: no', "error"),
    ],
)
async def test_claim_that_the_server_would_refuse_is_reported(
    harness: Harness, message: str, level: str
) -> None:
    def refuse(verb: str, resource: str) -> None:
        if (verb, resource) == ("create", "persistentvolumeclaims"):
            raise Problem(403, "Forbidden", message)

    harness.fake.faults.request_hooks.append(refuse)
    (check,) = session_checks(await harness.test(AUTO))
    assert (check.code, check.level) == ("k8s_session_volume_refused", level)
    assert message in check.message


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"sessionVolumePer": "company"}, "sessionVolumePer is company"),
        ({"concurrencyScope": "task"}, "concurrencyScope is task"),
    ],
)
async def test_several_pods_on_one_read_write_once_claim_are_a_warning(
    harness: Harness, config: dict[str, Any], cause: str
) -> None:
    warned = session_checks(await harness.test({**AUTO, **config}))
    assert [check.code for check in warned] == ["k8s_session_volume_one_node", "k8s_session_volume_auto"]
    assert cause in warned[0].message
    assert "one node" in warned[0].message
    many = {**AUTO, **config, "sessionVolumeAccessMode": "ReadWriteMany"}
    assert [check.code for check in session_checks(await harness.test(many))] == ["k8s_session_volume_auto"]


@pytest.mark.parametrize(
    ("modes", "code", "level"),
    [
        (["ReadWriteMany"], "k8s_session_volume_claim", "info"),
        (["ReadWriteOnce"], "k8s_session_volume_one_node", "warn"),
        (["ReadWriteOncePod"], "k8s_session_volume_one_node", "warn"),
        (["ReadOnlyMany"], "k8s_session_volume_read_only", "error"),
    ],
)
async def test_access_mode_of_a_named_claim_is_reported(
    harness: Harness, modes: list[str], code: str, level: str
) -> None:
    create_claim(harness, "pool", *modes)
    (check,) = session_checks(await harness.test({"sessionVolume": "pool"}))
    assert (check.code, check.level) == (code, level)
    assert modes[0] in check.message


async def test_named_claim_that_does_not_exist_is_an_error(harness: Harness) -> None:
    checkup = await harness.test({"sessionVolume": "nowhere"})
    (check,) = [check for check in checkup.checks if check.level == "error"]
    assert check.code == "k8s_session_volume_unavailable"
