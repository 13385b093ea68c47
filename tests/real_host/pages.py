"""Checks of the server's pages about the adapter. Each check raises `CheckFailed` if it fails."""

import asyncio
import json
import shutil
from pathlib import Path

from tests.real_host.paperclip import expect
from tests.real_host.stage import KIND, Stage
from tests.support.captures import capture

WORKER = Path(__file__).with_name("ui_worker.cjs")
OPERATIONAL = "paperclipai/paperclip/paperclip"
"""Key of the skill that the server gives every agent."""


def _of(stage: Stage) -> str:
    return f"/companies/{stage.host.company}/adapters/{KIND}"


async def the_adapter_is_loaded(stage: Stage) -> str:
    adapter = await stage.host.call("GET", f"/adapters/{KIND}")
    capabilities = adapter["capabilities"]
    expected = ("supportsSkills", "supportsLocalAgentJwt", "supportsInstructionsBundle")
    expect(adapter["loaded"] and all(capabilities[name] for name in expected), "a loaded adapter", adapter)
    return f"version {adapter['version']}, {adapter['modelsCount']} models"


async def the_package_can_be_reloaded(stage: Stage) -> str:
    """Reload it while runs of the previously loaded package continue."""
    answer = await stage.host.call("POST", f"/adapters/{KIND}/reload", {})
    models = await stage.host.call("GET", f"{_of(stage)}/models?refresh=1")
    expect(models, "models from the reloaded package", answer)
    return f"reloaded as version {answer['version']}"


async def the_environment_test_works(stage: Stage) -> str:
    path = f"{_of(stage)}/test-environment"
    good = await stage.host.call("POST", path, {"adapterConfig": stage.config()})
    codes = {check["code"] for check in good["checks"]}
    expect(good["status"] != "fail", "no failure where runs work", good)
    expect(
        {"k8s_bridge", "k8s_api_reachable", "k8s_job_dry_run"} <= codes, "the expected checks", sorted(codes)
    )
    bad = await stage.host.call("POST", path, {"adapterConfig": stage.config(kubeconfig="/nowhere")})
    expect(bad["status"] == "fail", "a failure without a cluster", bad)
    return f"{good['status']}, {len(codes)} kinds of checks; without a cluster {bad['status']}"


async def models_work(stage: Stage) -> str:
    listed = [model["id"] for model in await stage.host.call("GET", f"{_of(stage)}/models")]
    fresh = [model["id"] for model in await stage.host.call("GET", f"{_of(stage)}/models?refresh=1")]
    expect("claude-opus-5" in listed and fresh == listed, "models, listed and refreshed", [listed, fresh])
    detected = await stage.host.call("GET", f"{_of(stage)}/detect-model")
    expect(detected is None or "model" in detected, "a detected model, or none", detected)
    return f"{len(listed)} models"


async def skills_work(stage: Stage) -> str:
    agent = await stage.host.hire("Barbara", KIND, stage.config())
    shown = await stage.host.call("GET", f"/agents/{agent}/skills")
    by_key = {one["key"]: one for one in shown["entries"]}
    expect(by_key.get(OPERATIONAL, {}).get("state") == "configured", "the operational skill", shown)
    other = next(key for key, one in by_key.items() if one["state"] == "available")
    selection = {"desiredSkills": [other], "mode": "add"}
    synced = await stage.host.call("POST", f"/agents/{agent}/skills/sync", selection)
    expect({other, OPERATIONAL} <= set(synced["desiredSkills"]), "the selected skill as well", synced)
    return f"{len(by_key)} in the library, one more selected"


async def the_config_form_works(stage: Stage) -> str:
    form = await stage.host.call("GET", f"/adapters/{KIND}/config-schema")
    fields = {field["key"]: field for field in form["fields"]}
    without_default = [
        key for key, field in fields.items() if field["type"] == "number" and "default" not in field
    ]
    expect({"image", "kubeconfig", "timeoutSec"} <= set(fields), "the expected fields", sorted(fields))
    expect(not without_default, "a default for every number", without_default)
    return f"{len(fields)} settings"


async def the_quota_page_works(stage: Stage) -> str:
    windows = await stage.host.call("GET", f"/companies/{stage.host.company}/costs/quota-windows")
    expect(any(one.get("provider") == "anthropic" for one in windows), "an answer of the adapter", windows)
    return f"{len(windows)} provider(s)"


async def the_ui_loads_the_parser(stage: Stage) -> str:
    async with stage.host.http.get(f"{stage.host.api}/adapters/{KIND}/ui-parser.js") as answer:
        source = await answer.text()
    lines = [line for line in capture("01").decode().split("\n") if line]
    node = shutil.which("node") or ""
    expect(node, "node on the PATH")
    process = await asyncio.create_subprocess_exec(
        node, str(WORKER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    request = {
        "assets": str(stage.rig.ui_assets),
        "source": source,
        "lines": lines,
        "ts": "2026-11-21T00:00:00.000Z",
    }
    output, _ = await process.communicate(json.dumps(request).encode())
    posted = json.loads(output)
    expect(posted["init"] == {"type": "ready"}, "the UI's worker is ready", posted["init"])
    kinds = {entry["kind"] for result in posted["results"] for entry in result["entries"]}
    expect({"init", "assistant", "result"} <= kinds, "transcript entries", sorted(kinds))
    return f"ready in the UI's worker; kinds {', '.join(sorted(kinds))}"


PAGES = (
    the_adapter_is_loaded,
    the_package_can_be_reloaded,
    the_environment_test_works,
    models_work,
    skills_work,
    the_config_form_works,
    the_quota_page_works,
    the_ui_loads_the_parser,
)
