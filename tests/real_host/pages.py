"""Checks of the requests that the pages of the real Paperclip server make about the adapter.

Each check returns a note for the report, or raises `CheckFailed`.
"""

from tests.real_host.paperclip import expect
from tests.real_host.testbed import ADAPTER_TYPE, Testbed

OPERATIONAL_SKILL = "paperclipai/paperclip/paperclip"
"""Key of the skill that the server gives every agent."""


def _adapter_path(testbed: Testbed) -> str:
    return f"/companies/{testbed.host.company}/adapters/{ADAPTER_TYPE}"


async def the_adapter_is_loaded(testbed: Testbed) -> str:
    adapter = await testbed.host.call("GET", f"/adapters/{ADAPTER_TYPE}")
    capabilities = adapter["capabilities"]
    expected = ("supportsSkills", "supportsLocalAgentJwt", "supportsInstructionsBundle")
    expect(adapter["loaded"] and all(capabilities[name] for name in expected), "a loaded adapter", adapter)
    return f"version {adapter['version']}, {adapter['modelsCount']} models"


async def the_package_can_be_reloaded(testbed: Testbed) -> str:
    """Reload the adapter's package while runs of the previously loaded package continue."""
    response = await testbed.host.call("POST", f"/adapters/{ADAPTER_TYPE}/reload", {})
    models = await testbed.host.call("GET", f"{_adapter_path(testbed)}/models?refresh=1")
    expect(models, "models from the reloaded package", response)
    return f"reloaded as version {response['version']}"


async def the_environment_test_works(testbed: Testbed) -> str:
    path = f"{_adapter_path(testbed)}/test-environment"
    good = await testbed.host.call("POST", path, {"adapterConfig": testbed.config()})
    codes = {check["code"] for check in good["checks"]}
    expect(good["status"] != "fail", "no failure where runs work", good)
    expect(
        {"k8s_bridge", "k8s_api_reachable", "k8s_job_dry_run"} <= codes, "the expected checks", sorted(codes)
    )
    bad = await testbed.host.call("POST", path, {"adapterConfig": testbed.config(kubeconfig="/nowhere")})
    expect(bad["status"] == "fail", "a failure without a cluster", bad)
    return f"{good['status']}, {len(codes)} kinds of checks; without a cluster {bad['status']}"


async def models_work(testbed: Testbed) -> str:
    listed = [model["id"] for model in await testbed.host.call("GET", f"{_adapter_path(testbed)}/models")]
    fresh = [
        model["id"] for model in await testbed.host.call("GET", f"{_adapter_path(testbed)}/models?refresh=1")
    ]
    expect("claude-opus-5" in listed and fresh == listed, "models, listed and refreshed", [listed, fresh])
    detected = await testbed.host.call("GET", f"{_adapter_path(testbed)}/detect-model")
    expect(detected is None or "model" in detected, "a detected model, or none", detected)
    return f"{len(listed)} models"


async def skills_work(testbed: Testbed) -> str:
    agent = await testbed.host.create_agent("Barbara", ADAPTER_TYPE, testbed.config())
    shown = await testbed.host.call("GET", f"/agents/{agent}/skills")
    by_key = {entry["key"]: entry for entry in shown["entries"]}
    expect(by_key.get(OPERATIONAL_SKILL, {}).get("state") == "configured", "the operational skill", shown)
    other = next(key for key, entry in by_key.items() if entry["state"] == "available")
    selection = {"desiredSkills": [other], "mode": "add"}
    synced = await testbed.host.call("POST", f"/agents/{agent}/skills/sync", selection)
    expect({other, OPERATIONAL_SKILL} <= set(synced["desiredSkills"]), "the selected skill as well", synced)
    return f"{len(by_key)} in the library, one more selected"


async def the_config_form_works(testbed: Testbed) -> str:
    form = await testbed.host.call("GET", f"/adapters/{ADAPTER_TYPE}/config-schema")
    fields = {field["key"]: field for field in form["fields"]}
    without_default = [
        key for key, field in fields.items() if field["type"] == "number" and "default" not in field
    ]
    expect({"image", "kubeconfig", "timeoutSec"} <= set(fields), "the expected fields", sorted(fields))
    expect(not without_default, "a default for every number", without_default)
    return f"{len(fields)} settings"


async def the_quota_page_works(testbed: Testbed) -> str:
    windows = await testbed.host.call("GET", f"/companies/{testbed.host.company}/costs/quota-windows")
    ours = windows[-1]  # the page shows the last reply for each provider
    expected = "anthropic" if ours["ok"] else ADAPTER_TYPE  # a failure would hide another adapter's reply
    expect(ours["provider"] == expected, "no failure under the name of another adapter's provider", windows)
    return f"{len(windows)} provider(s)"


PAGES = (
    the_adapter_is_loaded,
    the_package_can_be_reloaded,
    the_environment_test_works,
    models_work,
    skills_work,
    the_config_form_works,
    the_quota_page_works,
)
