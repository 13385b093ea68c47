"""Unusable input: the error code and message name what is wrong, and nothing stays on the cluster."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.runs import Site


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"runId": None}, "k8s_config_invalid", "ctx.runId"),
        ({"agent": {"id": "///"}}, "k8s_agent_id_invalid", "letter or digit"),
        ({"config": {"timeoutSec": "soon"}}, "k8s_config_invalid", "config.timeoutSec"),
        (
            {"executionTarget": {"kind": "remote", "transport": "ssh"}},
            "k8s_config_invalid",
            "choose the local environment",
        ),
        (
            {"config": {"kubeconfig": "/nowhere/config"}},
            "k8s_config_invalid",
            "/nowhere/config does not exist",
        ),
    ],
)
async def test_unusable_setting_is_named_with_the_next_step(
    site: Site, given: dict[str, Any], code: str, message: str
) -> None:
    result, _ = await site.run(**given)
    assert result.error_code == code
    assert message in (result.error_message or "")
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert await site.leftovers() == []


async def test_invalid_kubeconfig_is_named(site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "config"
    broken.write_text("clusters: [", encoding="utf-8")
    result, _ = await site.run(config={"kubeconfig": str(broken), "image": "x"})
    assert result.error_code == "k8s_config_invalid"
    assert f"{broken} is not YAML" in (result.error_message or "")


async def test_unknown_config_key_is_reported_once(site: Site) -> None:
    result, host_log = await site.run({"CLAUDE_CAPTURE": site.capture_ref("01")}, config={"tiemoutSec": 5})
    assert result.error_message is None
    assert host_log.status.count("tiemoutSec") == 1


async def test_image_pull_failure_quotes_the_kubelet(site: Site) -> None:
    image = "localhost:1/nope:1" if site.name == "real" else "missing.invalid/nope:1"
    seconds = 20 if site.name == "real" else 4  # a busy kubelet takes long until it tries
    limits = {"imagePullTimeoutSec": seconds, "missingImageTimeoutSec": seconds}
    config = {"image": image, "imagePullPolicy": "IfNotPresent", **limits}
    result, host_log = await site.run(config=config)
    assert result.error_code == "k8s_pod_schedule_failed"
    assert image in (result.error_message or "")
    # The development cluster reports that there is no such image;
    # the real cluster cannot reach the registry in the image's name.
    exceeded_limit = "imagePullTimeoutSec" if site.name == "real" else "missingImageTimeoutSec"
    assert f"{exceeded_limit} is {seconds}" in (result.error_message or "")
    assert "ErrImagePull" in host_log.status or "ImagePullBackOff" in host_log.status
    assert await site.leftovers() == []
