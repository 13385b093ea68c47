"""`claude-k8s check` and `claude-k8s rbac`, run as commands."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.api_server import write_kubeconfig
from tests.support.cli_commands import claude_k8s

from paperclip_claude_k8s.checks.rights import RIGHTS


async def run_check(*args: str) -> tuple[int, dict[str, Any], str]:
    code, out, err = await claude_k8s("check", *args)
    reply: dict[str, Any] = json.loads(out)
    return code, reply, err


async def test_check_of_a_usable_cluster_exits_0_with_table_and_json(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"env": {"ANTHROPIC_API_KEY": "canary-key"}}), encoding="utf-8")
    code, reply, err = await run_check("--devcluster", "--config", str(config))
    assert (code, reply["status"]) == (0, "pass")
    assert [check["code"] for check in reply["checks"] if check["level"] != "info"] == []
    assert all(check["code"] in err for check in reply["checks"])
    assert err.rstrip().endswith("environment test: pass")
    assert "\x1b[" not in err
    assert "canary" not in err + json.dumps(reply)


async def test_probe_is_started_only_with_the_option_probe() -> None:
    _, reply, _ = await run_check("--devcluster", "--quiet")
    assert not [check for check in reply["checks"] if check["code"].startswith("k8s_probe")]
    _, reply, err = await run_check("--devcluster", "--probe", "--quiet")
    assert [check["level"] for check in reply["checks"] if check["code"] == "k8s_probe_passed"] == ["info"]
    assert err == ""


async def test_check_of_an_unreachable_cluster_exits_1(tmp_path: Path) -> None:
    code, reply, err = await run_check("--kubeconfig", write_kubeconfig(tmp_path), "--image", "x")
    assert (code, reply["status"]) == (1, "fail")
    assert [check["code"] for check in reply["checks"]] == ["k8s_api_unreachable"]
    assert "k8s_api_unreachable" in err


async def test_check_with_invalid_options_exits_2_with_json() -> None:
    code, reply, _ = await run_check("--config", "/nowhere.json")
    assert (code, reply["error"]) == (2, "usage")
    assert "/nowhere.json cannot be read" in reply["detail"]


async def test_rbac_prints_yaml_with_the_account() -> None:
    code, out, err = await claude_k8s("rbac", "--namespace", "agents", "--service-account", "runner")
    assert (code, err) == (0, "")
    role, binding = yaml.safe_load_all(out)
    assert sum(len(rule["verbs"]) for rule in role["rules"]) == len(RIGHTS)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "runner", "namespace": "agents"}]


async def test_rbac_adds_the_network_policy_with_the_option() -> None:
    _, out, _ = await claude_k8s("rbac", "-n", "agents", "--network-policy")
    objects = yaml.safe_load_all(out)
    assert [each["kind"] for each in objects] == ["Role", "RoleBinding", "NetworkPolicy"]


@pytest.mark.parametrize("heavy", ["kubernetes_asyncio", "aiohttp", "pydantic", "rich"])
async def test_access_objects_are_made_without_heavy_modules(heavy: str) -> None:
    program = (
        "import sys; from paperclip_claude_k8s.checks.role import Account, access_objects, to_yaml;"
        f"to_yaml(access_objects('n', Account('n', 's'))); sys.exit({heavy!r} in sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0
