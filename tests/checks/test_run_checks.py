"""The environment test as hosts call it: each problem is one check, and no Job is created without a probe."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.checks.harness import Harness, check_of, open_harness, problems
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.checks.rights import RIGHTS, Right
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.devcluster.kinds import CLAIMS, JOBS, SECRETS
from paperclip_claude_k8s.ports import ProcessSettings, utc_now
from paperclip_claude_k8s.testing import NAMESPACE

pytestmark = pytest.mark.looptime


async def test_healthy_cluster_passes_and_no_job_is_created(harness: Harness) -> None:
    checkup = await harness.test()
    assert (checkup.status, problems(checkup)) == ("pass", [])
    codes = {check.code for check in checkup.checks}
    rights = check_of(checkup, "k8s_rbac_granted")
    assert f"all {len(RIGHTS)} rights" in rights.message
    assert (rights.detail or "").split(", ") == [right.label for right in RIGHTS]
    assert {"k8s_api_reachable", "k8s_namespace_exists", "k8s_pvc_rwx", "k8s_job_dry_run"} <= codes
    assert {"k8s_secret_exists", "k8s_image_pull_secret_exists", "k8s_clock_skew"} <= codes
    assert list(harness.fake.store.list(JOBS)) == []


async def test_checkup_is_json_without_secrets(harness: Harness) -> None:
    wire = (await harness.test({"env": {"MY_TOKEN": "canary-token-0123"}})).to_wire()
    text = json.dumps(wire)
    assert wire["adapterType"] == "claude_k8s"
    assert wire["testedAt"].endswith("Z")
    assert "canary" not in text
    for check in wire["checks"]:
        assert {"code", "level", "message"} <= check.keys() <= {"code", "level", "message", "detail", "hint"}
        assert check["level"] in {"info", "warn", "error"}
        assert None not in check.values()


async def test_template_that_becomes_too_long_is_reported(harness: Harness) -> None:
    checkup = await harness.test({"promptTemplate": "{{agent}}" * 100_000}, companyId="c" * 200)
    assert [check.code for check in problems(checkup)] == ["k8s_prompt_too_large"]


RIGHTS_WITH_ONE_CHECK = [right for right in RIGHTS if right.label != "get pods"]
"""Without the right to get Pods, the home pod cannot be read either, which has a check of its own."""


@pytest.mark.parametrize("right", RIGHTS_WITH_ONE_CHECK, ids=lambda right: right.code)
async def test_missing_right_gives_exactly_one_check(harness: Harness, right: Right) -> None:
    harness.fake.faults.denied.add((right.access.verb, right.resource))
    checkup = await harness.test()
    (check,) = problems(checkup)
    assert (check.code, check.level) == (right.code, right.level)
    assert right.lost in check.message
    assert (right.instead or "there is no fallback") in check.message
    assert f"claude-k8s rbac --namespace {NAMESPACE}" in (check.hint or "")
    assert checkup.status == ("fail" if right.level == "error" else "warn")


async def test_unreadable_home_pod_is_reported_beside_the_missing_right(
    harness: Harness,
) -> None:
    harness.fake.faults.denied.add(("get", "pods"))
    checkup = await harness.test()
    assert {check.code for check in problems(checkup)} == {"k8s_rbac_pod_get", "k8s_home_pod_unavailable"}
    assert checkup.status == "fail"


async def test_missing_right_to_get_pods_is_a_warning_if_no_home_pod_is_needed(harness: Harness) -> None:
    harness.fake.faults.denied.add(("get", "pods"))
    config = {"kubeconfig": "fake", "image": "x", "env": {"ANTHROPIC_API_KEY": "k"}}
    checkup = await harness.test(config)
    assert [check.code for check in problems(checkup)] == ["k8s_rbac_pod_get", "k8s_pvc_not_detected"]
    assert checkup.status == "warn"


async def test_all_missing_rights_are_reported_with_errors_first(harness: Harness) -> None:
    harness.fake.faults.denied |= {(right.access.verb, right.resource) for right in RIGHTS_WITH_ONE_CHECK}
    checkup = await harness.test()
    in_order = sorted(RIGHTS_WITH_ONE_CHECK, key=lambda right: ["error", "warn"].index(right.level))
    assert [check.code for check in problems(checkup)] == [right.code for right in in_order]


async def test_unreachable_api_is_one_check(harness: Harness) -> None:
    harness.create_objects()
    harness.fake.go_down(seconds=1000)
    checkup = await harness.test()
    assert [check.code for check in checkup.checks] == ["k8s_api_unreachable"]
    assert "connection refused" in checkup.checks[0].message
    assert checkup.status == "fail"


async def test_failing_access_reviews_are_one_check(tmp_path: Path) -> None:
    """On an API server without access reviews everything else is still checked."""
    async with open_harness(tmp_path) as harness:
        gateway = _WithoutReviews(http=harness.fake.connection)
        adapter = Adapter(ProcessSettings(env={}), lambda _source, _settings: gateway)
        checkup = await adapter.test_environment(
            {"config": {"kubeconfig": "x", "image": "x", "env": {"ANTHROPIC_API_KEY": "k"}}}
        )
        check, claim = problems(checkup)
        assert (check.code, check.level) == ("k8s_rbac_check_failed", "warn")
        assert claim.code == "k8s_pvc_not_detected"
        assert check_of(checkup, "k8s_job_dry_run").level == "info"


class _WithoutReviews(Gateway):
    """Fails in each access review."""

    async def may(self, *_: Any) -> bool:
        msg = "reviews are not offered"
        raise RuntimeError(msg)


class _Silent(Gateway):
    """Never responds to access reviews, the dry run, and reads of claims and Secrets."""

    async def may(self, *_: Any) -> bool:
        await asyncio.Event().wait()
        return False

    async def create_job(self, *_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    async def read_claim(self, *_: Any) -> Any:
        await asyncio.Event().wait()

    async def read_secret(self, *_: Any) -> Any:
        await asyncio.Event().wait()


async def test_silent_server_delays_the_test_by_one_time_limit(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        harness.create_objects()
        silent = _Silent(http=harness.fake.connection)
        adapter = Adapter(
            ProcessSettings(env={"HOSTNAME": "paperclip-0", "PAPERCLIP_NAMESPACE": NAMESPACE}),
            lambda *_: silent,
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        checkup = await adapter.test_environment({"config": {}})
        # one time limit, because all requests without a response are sent at the same time
        assert loop.time() - began < 2 * ProcessSettings().timings.check
        assert checkup.status == "warn"
        assert "no response within 10s" in check_of(checkup, "k8s_job_dry_run_failed").message


class _SlowExecPlugin(Gateway):
    """Has an exec plugin that takes 20 s, as long as a run would wait for it."""

    _loaded = False

    async def default_namespace(self) -> str | None:
        if not self._loaded:
            await asyncio.sleep(20)
        self._loaded = True
        return NAMESPACE

    async def server_version(self) -> tuple[int, int]:
        await self.default_namespace()
        return await super().server_version()


async def test_exec_plugin_may_take_longer_than_a_check(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        gateway = _SlowExecPlugin(http=harness.fake.connection)
        adapter = Adapter(ProcessSettings(env={}), lambda *_: gateway)
        checkup = await adapter.test_environment({"config": {"kubeconfig": "x", "image": "x"}})
        assert [check for check in checkup.checks if check.level == "error"] == []


# What the Job refers to -------------------------------------------------------------------------------


async def test_missing_required_secret_is_an_error(harness: Harness) -> None:
    harness.secrets = ("registry",)
    checkup = await harness.test()
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_secret_missing", "error")
    assert "paperclip-secrets" in check.message


async def test_missing_optional_secret_passes(harness: Harness) -> None:
    harness.secrets = ("registry",)
    harness.home["containers"][0]["envFrom"][0]["secretRef"]["optional"] = True
    assert (await harness.test()).status == "pass"


async def test_missing_image_pull_secret_is_a_warning(harness: Harness) -> None:
    harness.secrets = ("paperclip-secrets",)
    (check,) = problems(await harness.test())
    assert (check.code, check.level) == ("k8s_image_pull_secret_missing", "warn")


@pytest.mark.parametrize(
    ("modes", "level", "text"),
    [
        (["ReadWriteOnce"], "warn", "only run on the node"),
        (["ReadWriteOncePod"], "error", "only one Pod at a time"),
        (["ReadOnlyMany"], "error", "cannot write"),
    ],
)
async def test_volume_that_is_not_read_write_many_reports_the_consequence(
    harness: Harness, modes: list[str], level: str, text: str
) -> None:
    def set_modes(claim: dict[str, Any]) -> None:
        claim["spec"]["accessModes"] = modes

    harness.fake.store.update(CLAIMS, NAMESPACE, "paperclip-data", set_modes)
    (check,) = problems(await harness.test())
    assert (check.code, check.level) == ("k8s_pvc_not_rwx", level)
    assert text in check.message
    assert modes[0] in check.message


async def test_missing_claim_is_an_error(harness: Harness) -> None:
    harness.fake.store.remove(CLAIMS, NAMESPACE, "paperclip-data")
    assert [check.code for check in problems(await harness.test())] == ["k8s_pvc_missing"]


async def test_missing_credentials_are_a_warning(harness: Harness) -> None:
    harness.home = {"containers": [{"name": "paperclip", "image": "x"}]}
    checkup = await harness.test({"kubeconfig": "fake", "image": "x"})
    assert check_of(checkup, "claude_credentials_missing").level == "warn"


_FROM_SECRET = {"valueFrom": {"secretKeyRef": {"name": "registry", "key": "k"}}}


async def test_key_that_a_secret_lacks_is_an_error(harness: Harness) -> None:
    checkup = await harness.test({"env": {"ANTHROPIC_API_KEY": _FROM_SECRET}})
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_secret_key_missing", "error")
    assert check.message == "Secret registry has no key k, so the Pod does not start; it is empty"
    harness.fake.store.update(
        SECRETS, NAMESPACE, "registry", lambda secret: secret["data"].update({"other": "eA=="})
    )
    (check,) = problems(await harness.test({"env": {"ANTHROPIC_API_KEY": _FROM_SECRET}}))
    assert check.message.endswith("it has other")
    harness.fake.store.update(
        SECRETS, NAMESPACE, "registry", lambda secret: secret["data"].update({"k": "eA=="})
    )
    assert problems(await harness.test({"env": {"ANTHROPIC_API_KEY": _FROM_SECRET}})) == []


async def test_optional_key_may_be_missing(harness: Harness) -> None:
    optional = {"secretKeyRef": {"name": "registry", "key": "k", "optional": True}}
    assert problems(await harness.test({"env": {"ANTHROPIC_API_KEY": optional}})) == []


@pytest.mark.parametrize(
    "config",
    [
        {"env": {"ANTHROPIC_API_KEY": _FROM_SECRET}},
        {
            "podTemplate": {
                "spec": {
                    "containers": [{"name": "claude", "env": [{"name": "ANTHROPIC_API_KEY", **_FROM_SECRET}]}]
                }
            }
        },
    ],
)
async def test_credential_from_a_secret_is_found(harness: Harness, config: dict[str, Any]) -> None:
    harness.home = {"containers": [{"name": "paperclip", "image": "x"}]}
    checkup = await harness.test(config)
    assert check_of(checkup, "claude_credentials_found").message == "The agent gets ANTHROPIC_API_KEY"
    assert check_of(checkup, "k8s_secret_exists").message == "Secret registry exists"


async def test_unknown_home_pod_is_an_error_with_a_hint_and_comes_first(harness: Harness) -> None:
    checkup = await Adapter(ProcessSettings(env={}), lambda *_: harness.fake.gateway).test_environment(
        {"config": {}}
    )
    check = check_of(checkup, "k8s_home_pod_unavailable")
    assert (check.level, checkup.status) == ("error", "fail")
    assert check.hint
    assert check_of(checkup, "k8s_rbac_granted").level == "info"
    assert checkup.checks[0] == check


# The dry run ------------------------------------------------------------------------------


async def test_missing_namespace_is_one_check(harness: Harness) -> None:
    checkup = await harness.test({"namespace": "elsewhere"})
    check = check_of(checkup, "k8s_namespace_missing")
    assert check.level == "error"
    assert "elsewhere" in check.message
    assert not [check for check in checkup.checks if check.code.startswith("k8s_job_dry_run")]


@pytest.mark.parametrize(
    ("status", "text", "hint"),
    [
        (403, "exceeded quota: small, requested: count/jobs.batch=1, used: 5, limited: 5", "quota"),
        (403, 'admission webhook "policy.example" denied the request: no', "policy"),
        (422, 'Job.batch "x" is invalid: spec.template.spec.priorityClassName', "the message is about"),
    ],
)
async def test_refused_dry_run_quotes_the_server(harness: Harness, status: int, text: str, hint: str) -> None:
    harness.fake.faults.refuse("create", "jobs", status, message=text)
    (check,) = problems(await harness.test())
    assert (check.code, check.level) == ("k8s_job_dry_run_refused", "error")
    assert text in check.message
    assert hint in (check.hint or "")


async def test_webhook_without_dry_run_support_makes_the_check_inconclusive(harness: Harness) -> None:
    text = 'admission webhook "x" does not support dry run'
    harness.fake.faults.refuse("create", "jobs", 400, message=text)
    (check,) = problems(await harness.test())
    assert (check.code, check.level) == ("k8s_job_dry_run_failed", "warn")


async def test_server_warning_is_quoted(harness: Harness) -> None:
    text = 'would violate PodSecurity "restricted:latest": runAsNonRoot != true'
    harness.fake.faults.warnings.append(text)
    (check,) = problems(await harness.test())
    assert (check.code, check.level) == ("k8s_job_warning", "warn")
    assert text in check.message
    assert "refused" in (check.hint or "")


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ('violates PodSecurity "restricted:latest": privileged', "error"),
        ("maximum memory usage per Container is 1Gi, but limit is 8Gi", "error"),
        ('error looking up service account ns/x: serviceaccount "x" not found', "error"),
        ("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1", "warn"),
    ],
)
async def test_check_of_a_refused_pod_quotes_the_server(harness: Harness, text: str, level: str) -> None:
    harness.create_objects()
    harness.fake.faults.pod_refusal = f'pods "x" is forbidden: {text}'
    checkup = await harness.test()
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_pod_dry_run_refused", level)
    assert text in check.message
    assert check.hint
    assert checkup.status == ("fail" if level == "error" else "warn")


async def test_probe_of_a_refused_pod_fails_within_seconds(harness: Harness) -> None:
    harness.create_objects()
    harness.fake.faults.denied.add(("create", "pods"))  # else the dry run of the Pod finds the refusal
    harness.fake.faults.pod_refusal = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": root'
    began = asyncio.get_running_loop().time()
    check = check_of(await harness.test(probe=True), "k8s_probe_failed")
    assert asyncio.get_running_loop().time() - began < 6
    assert "violates PodSecurity" in check.message


async def test_home_pod_timeout_quotes_the_last_error(harness: Harness) -> None:
    harness.fake.faults.refuse("get", "pods", 500, times=1000, message="etcd is on fire")
    check = check_of(await harness.test(), "k8s_home_pod_unavailable")
    assert "no usable response within 10s" in check.message
    assert "etcd is on fire" in check.message


@pytest.mark.parametrize(("host_ahead", "text"), [(600, "ahead of"), (-600, "behind")])
async def test_clock_skew_reports_its_direction(tmp_path: Path, host_ahead: int, text: str) -> None:
    def now() -> datetime:
        return utc_now() + timedelta(seconds=host_ahead)

    async with open_harness(tmp_path, now=now) as harness:
        (check,) = problems(await harness.test())
    assert (check.code, check.level) == ("k8s_clock_skew", "warn")
    assert text in check.message


# Settings and context ---------------------------------------------------------------------------------------


async def test_setting_of_wrong_type_is_reported_by_one_check(harness: Harness) -> None:
    checkup = await harness.test({"timeoutSec": "soon"})
    (check,) = checkup.checks
    assert (check.code, check.level) == ("k8s_config_invalid", "error")
    assert "timeoutSec" in check.message


async def test_argument_that_is_too_long_for_linux_is_an_error(harness: Harness) -> None:
    check = check_of(await harness.test({"extraArgs": ["--note", "x" * 128 * 1024]}), "k8s_config_invalid")
    assert check.level == "error"
    assert "extraArgs" in check.message


async def test_unknown_settings_are_reported(harness: Harness) -> None:
    checkup = await harness.test({"timeoutSecs": 5, "queueName": "q"})
    check = check_of(checkup, "k8s_config_unknown")
    assert (check.level, "timeoutSecs" in check.message) == ("warn", True)


async def test_each_violation_of_pod_security_is_reported(harness: Harness) -> None:
    checkup = await harness.test({"runAsUser": 0, "podTemplate": {"hostNetwork": True}})
    messages = [check.message for check in checkup.checks if check.code == "k8s_pod_not_restricted"]
    assert [text.rpartition(": ")[2] for text in messages] == [
        "hostNetwork is on",
        "container claude may run as root (runAsNonRoot is not true)",
        "the Pod runs as user 0",
    ]
    assert checkup.status == "warn"


async def test_settings_that_need_a_newer_kubernetes_are_reported(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:

        class OldServer(Gateway):
            async def server_version(self) -> tuple[int, int]:
                return (1, 23)

        old = OldServer(http=harness.fake.connection)
        adapter = Adapter(ProcessSettings(env={}), lambda *_: old)
        config = {"kubeconfig": "x", "image": "x", "enableDocker": True, "queueName": "q"}
        checkup = await adapter.test_environment({"config": config})
        messages = [check.message for check in checkup.checks if check.code == "k8s_version_too_old"]
        assert messages == [
            "enableDocker needs Kubernetes 1.29 or newer; this cluster has 1.23",
            "queueName needs Kubernetes 1.24 or newer; this cluster has 1.23",
        ]
        (replacement,) = [check for check in checkup.checks if check.code == "k8s_pod_replacement"]
        assert "replaces a deleted Pod while its agent still works" in replacement.message
        assert replacement.level == "info"


@pytest.mark.parametrize("context", [{}, {"config": None}, {"config": []}, {"config": "x"}, [], None, 7])
async def test_any_context_gets_a_checkup(harness: Harness, context: Any) -> None:
    harness.create_objects()
    checkup = await harness.adapter.test_environment(context)
    assert checkup.status in {"pass", "fail"}
    assert checkup.checks
    assert checkup.tested_at <= datetime.now(UTC)


@pytest.mark.looptime(enabled=False)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(ANY_JSON)
def test_any_json_context_gets_a_checkup(tmp_path: Path, context: Any) -> None:
    async def status() -> str:
        async with open_harness(tmp_path) as harness:
            harness.create_objects()
            return (await harness.adapter.test_environment(context)).status

    assert asyncio.run(status()) in {"pass", "warn", "fail"}
