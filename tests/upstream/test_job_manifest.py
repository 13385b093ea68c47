"""Job manifests equal those of the TypeScript adapter, or differ on purpose."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs
from tests.support.plans import HOME, a_context, a_plan, the_job, the_secret
from tests.support.rtk_hook import run_hook

from paperclip_claude_k8s.cluster.model import HomeMount, JsonObject
from paperclip_claude_k8s.helpers import sanitize_label_value
from paperclip_claude_k8s.plan.bundle import Packed
from paperclip_claude_k8s.plan.identity import user_labels
from paperclip_claude_k8s.plan.manifest import job_manifest

LEGAL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
SESSION = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
PREFIX = "paperclip.io/"
RICH_HOME = replace(HOME, image_pull_secrets=({"name": "regcred"},))


def agent(**fields: Any) -> dict[str, Any]:
    return {"agent": {"id": "agent-abc", "companyId": "co1", "name": "Test Agent", **fields}}


def job(more: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """The Job of a run. `more`: top-level entries of the context."""
    given = {**agent(), "runId": "run-abc12345", "context": {}, **(more or {})}
    return the_job(a_context(**given), **config)


def name_of(more: dict[str, Any]) -> str:
    name: str = job(more)["metadata"]["name"]
    return name


def labels(more: dict[str, Any] | None = None, **config: Any) -> dict[str, str]:
    found: dict[str, str] = job(more, **config)["metadata"]["labels"]
    return found


def pod(more: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    spec: dict[str, Any] = job(more, **config)["spec"]["template"]["spec"]
    return spec


def container(more: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(more, **config)["containers"][0]
    return found


def env(more: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """Name → value, or the whole entry if it is a reference."""
    return {entry["name"]: entry.get("value", entry) for entry in container(more, **config).get("env") or []}


def argv(more: dict[str, Any] | None = None, **config: Any) -> tuple[str, ...]:
    return a_plan(a_context(**{**agent(), **(more or {})}), **config).argv


# ── Names ────────────────────────────────────────────────────────────────────────────────────────


def test_name_has_prefix_and_both_ids() -> None:
    name = name_of({**agent(id="Agent-ABC!@#"), "runId": "RUN-ABC-12345"})
    assert name.startswith("ac-agent-abc-run-abc-12345-")


def test_name_depends_on_agent_and_run_only() -> None:
    assert name_of({"runId": "r1"}) == name_of({"runId": "r1"}) != name_of({"runId": "r2"})


def test_name_ends_in_ten_hex_digits() -> None:
    assert re.search(r"-[0-9a-f]{10}$", name_of({}))
    assert_typescript_adapter_differs("the name of a Job ends in 6 hex digits")


def test_name_of_long_ids_has_at_most_63_characters() -> None:
    assert len(name_of({**agent(id="a" * 100), "runId": "r" * 100})) <= 63


# ── Job ──────────────────────────────────────────────────────────────────────────────────────────


def test_job_never_starts_a_second_pod() -> None:
    assert job()["spec"]["backoffLimit"] == 0
    assert pod()["restartPolicy"] == "Never"


def test_job_has_no_deadline_without_a_time_limit() -> None:
    assert "activeDeadlineSeconds" not in job(timeoutSec=0)["spec"]


def test_deadline_of_the_job_includes_all_budgets() -> None:
    assert job(timeoutSec=300)["spec"]["activeDeadlineSeconds"] > 300  # and the budgets before the start
    assert_typescript_adapter_differs("`activeDeadlineSeconds` is `timeoutSec`")


def test_finished_job_is_kept_for_the_configured_time() -> None:
    assert job(ttlSecondsAfterFinished=600)["spec"]["ttlSecondsAfterFinished"] == 600


def test_finished_job_is_kept_for_an_hour_by_default() -> None:
    assert job()["spec"]["ttlSecondsAfterFinished"] == 3600
    assert_typescript_adapter_differs("`ttlSecondsAfterFinished` is 300 by default")


# ── Labels and annotations ───────────────────────────────────────────────────────────────────────


def test_job_has_the_labels_of_its_run() -> None:
    assert (
        labels().items()
        >= {
            "app.kubernetes.io/managed-by": "paperclip",
            "app.kubernetes.io/component": "agent-job",
            "paperclip.io/agent-id": "agent-abc",
            "paperclip.io/run-id": "run-abc12345",
            "paperclip.io/company-id": "co1",
            "paperclip.io/adapter-type": "claude_k8s",
        }.items()
    )


@pytest.mark.parametrize("given", [{"env": "prod", "team": "platform"}, "env=prod\nteam=platform"])
def test_configured_labels_are_added(given: Any) -> None:
    found = labels(labels=given)
    assert (found["env"], found["team"], found["paperclip.io/adapter-type"]) == (
        "prod",
        "platform",
        "claude_k8s",
    )


@pytest.mark.parametrize(
    ("more", "label", "value"),
    [
        ({"context": {"taskId": "task-xyz-789"}}, "task-id", "task-xyz-789"),
        ({"context": {"issueId": "issue-42"}}, "task-id", "issue-42"),
        ({"runtime": {"sessionId": "sess-abc-1234"}}, "session-id", "sess-abc-1234"),
        ({"runtime": {"sessionParams": {"sessionId": "sess-from"}}}, "session-id", "sess-from"),
        ({}, "task-id", None),
        ({}, "session-id", None),
        (agent(id="my agent id"), "agent-id", "myagentid"),
        (agent(id="user@example.com"), "agent-id", "userexample.com"),
        (agent(id="Agent@Test"), "agent-id", "AgentTest"),
    ],
)
def test_id_becomes_a_legal_label(more: dict[str, Any], label: str, value: str | None) -> None:
    found = labels(more).get(f"{PREFIX}{label}")
    assert found == value
    assert found is None or LEGAL.fullmatch(found)


def test_configured_labels_with_a_reserved_prefix_are_skipped() -> None:
    given = {
        "paperclip.io/run-id": "hijacked",
        "app.kubernetes.io/managed-by": "attacker",
        "custom.io/team": "platform",
        "safe": "z",
    }
    accepted, skipped = user_labels(given)
    assert accepted == {"custom.io/team": "platform", "safe": "z"}
    assert skipped == ("app.kubernetes.io/managed-by", "paperclip.io/run-id")
    found = labels(labels=given)
    assert found["paperclip.io/run-id"] == "run-abc12345"
    assert found["app.kubernetes.io/managed-by"] == "paperclip"


def test_id_without_a_legal_character_has_no_label() -> None:
    assert "paperclip.io/run-id" not in labels({"runId": "@@@"})
    assert_typescript_adapter_differs("an id without a legal character is listed among the skipped labels")


def test_annotations_name_adapter_and_agent() -> None:
    found = job()["metadata"]["annotations"]
    assert (found["paperclip.io/adapter-type"], found["paperclip.io/agent-name"]) == (
        "claude_k8s",
        "Test Agent",
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("abc-123-def", "abc-123-def"),
        ("0d8b4472-c42c-4052-aab1-e32897909afa", "0d8b4472-c42c-4052-aab1-e32897909afa"),
        ("task:xyz/123", "taskxyz123"),
        ("abc 123", "abc123"),
        ("--abc--", "abc"),
        ("...123...", "123"),
        ("a" * 200, "a" * 63),
        *((blank, None) for blank in ("---", "", "   ")),
    ],
)
def test_text_becomes_a_label_value(text: str, value: str | None) -> None:
    assert sanitize_label_value(text) == value
    assert sanitize_label_value(text, 63) == value


# ── Pod ──────────────────────────────────────────────────────────────────────────────────────────


def test_pod_runs_as_a_normal_user() -> None:
    assert (
        pod()["securityContext"].items()
        >= {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
        }.items()
    )


def test_pod_inherits_pull_secrets_and_dns() -> None:
    dns: JsonObject = {"nameservers": ["8.8.8.8"], "searches": ["svc.cluster.local"]}
    found = pod(home=replace(RICH_HOME, dns_config=dns))
    assert (found["imagePullSecrets"], found["dnsConfig"]) == ([{"name": "regcred"}], dns)
    assert {"imagePullSecrets", "dnsConfig"}.isdisjoint(pod())


def test_prompt_is_in_a_secret_in_place_of_an_init_container() -> None:
    assert not pod().get("initContainers")
    assert "prompt.txt" in (the_secret(a_context()).get("data") or the_secret(a_context())["stringData"])
    assert "Say hello." not in str(the_job(a_context()))
    assert_typescript_adapter_differs("prompt and token are in the Job's spec")
    assert_typescript_adapter_differs("prompts above 256 KiB travel in a Secret")
    assert_typescript_adapter_differs("volumes are named `prompt` and `data`")


def test_init_container_writes_the_prompt_on_request() -> None:
    (init,) = pod(promptDelivery="init")["initContainers"]
    assert (init["image"], init["imagePullPolicy"]) == ("home/image:1", "IfNotPresent")
    assert_typescript_adapter_differs("an init container of the image `busybox:1.36` writes the prompt")


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({}, "name", "claude"),
        ({}, "image", "home/image:1"),
        ({"image": "my-image:v2"}, "image", "my-image:v2"),
        ({"imagePullPolicy": "Always"}, "imagePullPolicy", "Always"),
        ({}, "imagePullPolicy", "IfNotPresent"),
        ({}, "workingDir", "/paperclip"),
        ({"cwd": "/custom/path"}, "workingDir", "/custom/path"),
    ],
)
def test_container_of_the_agent_has_these_fields(config: dict[str, Any], field: str, value: str) -> None:
    assert container(**config)[field] == value


def test_agent_works_in_the_workspace_on_the_volume() -> None:
    workspace = {"context": {"paperclipWorkspace": {"cwd": "/paperclip/myproject"}}}
    assert container(workspace)["workingDir"] == "/paperclip/myproject"
    assert container(workspace, cwd="/custom/path")["workingDir"] == "/paperclip/myproject"


def test_workspace_that_the_pod_does_not_have_is_not_the_working_directory() -> None:
    workspace = {"context": {"paperclipWorkspace": {"cwd": "/workspace/myproject"}}}
    assert container(workspace)["workingDir"] == "/paperclip"
    assert container(workspace, cwd="/custom/path")["workingDir"] == "/custom/path"
    assert_typescript_adapter_differs("a workspace that the Pod does not have is the working directory")


def test_shared_claim_is_mounted_as_the_home() -> None:
    claims = [v for v in pod()["volumes"] if v.get("persistentVolumeClaim", {}).get("claimName") == "data"]
    (mount,) = (m for m in container()["volumeMounts"] if m["mountPath"] == "/paperclip")
    assert [volume["name"] for volume in claims] == [mount["name"]]


def test_pod_without_a_claim_has_no_claim_volume() -> None:
    spec = pod(home=replace(HOME, claim_name=""))
    assert not any("persistentVolumeClaim" in volume for volume in spec["volumes"])


def test_secret_volumes_of_the_home_pod_are_mounted_read_only() -> None:
    volume: JsonObject = {"name": "my-secret", "secret": {"secretName": "app-secret", "defaultMode": 420}}
    home = replace(HOME, mounts=(HomeMount("/secrets/app", volume, read_only=True),))
    (found,) = (v for v in pod(home=home)["volumes"] if v.get("secret", {}).get("secretName") == "app-secret")
    (mount,) = (m for m in container(home=home)["volumeMounts"] if m["mountPath"] == "/secrets/app")
    assert (mount["name"], mount["readOnly"]) == (found["name"], True)


@pytest.mark.parametrize(
    ("config", "requests", "limits"),
    [
        ({}, {"cpu": "1000m", "memory": "2Gi"}, {"cpu": "4000m", "memory": "8Gi"}),
        (
            {
                "resources.requests.cpu": "500m",
                "resources.requests.memory": "1Gi",
                "resources.limits.cpu": "2000m",
                "resources.limits.memory": "4Gi",
            },
            {"cpu": "500m", "memory": "1Gi"},
            {"cpu": "2000m", "memory": "4Gi"},
        ),
    ],
)
def test_container_has_requests_and_limits(
    config: dict[str, Any], requests: dict[str, str], limits: dict[str, str]
) -> None:
    found = container(**config)["resources"]
    for kind, expected in (("requests", requests), ("limits", limits)):
        assert found[kind].items() >= expected.items()


@pytest.mark.parametrize(
    "given",
    [
        {"disktype": "ssd", "topology.kubernetes.io/zone": "us-east-1a"},
        "disktype=ssd\ntopology.kubernetes.io/zone=us-east-1a",
        '{"disktype":"ssd","topology.kubernetes.io/zone":"us-east-1a"}',
        "# comment\n\ndisktype=ssd\ntopology.kubernetes.io/zone=us-east-1a\n",
    ],
)
def test_node_selector_is_read_in_every_form(given: Any) -> None:
    expected = {"disktype": "ssd", "topology.kubernetes.io/zone": "us-east-1a"}
    assert pod(nodeSelector=given)["nodeSelector"] == expected


def test_tolerations_are_passed_on() -> None:
    given = [{"key": "disk", "operator": "Equal", "value": "ssd", "effect": "NoSchedule"}]
    assert pod(tolerations=given)["tolerations"] == given
    assert {"nodeSelector", "tolerations"}.isdisjoint(pod())


def test_service_account_is_the_configured_one() -> None:
    assert pod(serviceAccountName="paperclip-agent")["serviceAccountName"] == "paperclip-agent"
    assert "serviceAccountName" not in pod()


# ── Environment ──────────────────────────────────────────────────────────────────────────────────


def test_environment_has_home_and_run() -> None:
    found = env()
    assert (found["HOME"], found["PAPERCLIP_RUN_ID"]) == ("/paperclip", "run-abc12345")


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "AWS_REGION"])
def test_variables_of_the_home_pod_are_inherited(name: str) -> None:
    assert name in env(home=replace(HOME, env=({"name": name, "value": "v"},)))


def test_configured_variable_replaces_an_inherited_one() -> None:
    home = replace(HOME, env=({"name": "AWS_REGION", "value": "us-east-1"},))
    given: dict[str, Any] = {"home": home, "env": {"AWS_REGION": "us-west-2"}}
    (found,) = (entry for entry in container(**given)["env"] if entry["name"] == "AWS_REGION")
    assert "secretKeyRef" in found["valueFrom"]
    assert "us-west-2" in str(the_secret(a_context(**agent()), **given))
    assert "us-east-1" not in str(job(**given))


def test_token_is_delivered_by_the_secret() -> None:
    entry = env({"authToken": "pk_abc123"})["PAPERCLIP_API_KEY"]
    assert "secretKeyRef" in entry["valueFrom"]
    assert_typescript_adapter_differs("prompt and token are in the Job's spec")


def test_api_url_of_the_home_pod_is_used() -> None:
    home = replace(HOME, env=({"name": "PAPERCLIP_API_URL", "value": "http://paperclip:8080"},))
    assert env({"authToken": "pk_abc"}, home=home)["PAPERCLIP_API_URL"] == "http://paperclip:8080"


@pytest.mark.parametrize("last", ["literal", "reference"])
def test_later_entry_of_one_name_is_inherited_from_the_home_pod(last: str) -> None:
    literal: JsonObject = {"name": "MY_VAR", "value": "literal"}
    reference: JsonObject = {"name": "MY_VAR", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    entries = (reference, literal) if last == "literal" else (literal, reference)
    found = [e for e in container(home=replace(HOME, env=entries))["env"] if e["name"] == "MY_VAR"]
    assert found == [entries[-1]]
    assert_typescript_adapter_differs("a literal of the home pod precedes a reference of the same name")


def test_references_and_sources_of_the_home_pod_are_inherited() -> None:
    reference: JsonObject = {
        "name": "MY_KEY",
        "valueFrom": {"secretKeyRef": {"name": "api-keys", "key": "anthropic"}},
    }
    sources: list[JsonObject] = [
        {"secretRef": {"name": "api-secrets"}},
        {"configMapRef": {"name": "app-config"}},
    ]
    found = container(home=replace(HOME, env=(reference,), env_from=sources))
    assert reference in found["env"]
    assert found["envFrom"] == sources
    assert not container().get("envFrom")


# ── Command line and prompt ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({}, ("--print", "--output-format", "stream-json", "--verbose")),
        ({"model": "claude-opus-4-6"}, ("--model", "claude-opus-4-6")),
        ({"effort": "high"}, ("--effort", "high")),
        ({"maxTurnsPerRun": 10}, ("--max-turns", "10")),
        ({}, ("--dangerously-skip-permissions",)),
        ({"extraArgs": ["--no-input", "--debug"]}, ("--no-input", "--debug")),
    ],
)
def test_command_line_has_these_arguments(config: dict[str, Any], part: tuple[str, ...]) -> None:
    found = argv(**config)
    start = found.index(part[0])
    assert found[start : start + len(part)] == part


def test_prompt_on_stdin_needs_no_dash() -> None:
    assert "-" not in argv()
    assert_typescript_adapter_differs("`claude --print -` behind a shell pipe")


def test_session_is_resumed_by_its_id() -> None:
    found = argv({"runtime": {"sessionId": SESSION}})
    assert found[found.index("--resume") + 1] == SESSION


def test_session_whose_id_is_no_uuid_is_not_resumed() -> None:
    plan = a_plan(a_context(runtime={"sessionId": "sess_abc"}))
    assert "--resume" not in plan.argv
    assert "Starting a fresh session: its id is not a UUID" in plan.notes
    assert_typescript_adapter_differs("any session id is passed to `--resume`")


BUNDLE = "/paperclip/instances/default/companies/co1/claude-prompt-cache/abc123"
PACKED = Packed("abc123", BUNDLE, f"{BUNDLE}/agent-instructions.md")


def test_bundle_is_added_and_its_instructions_appended_for_a_fresh_session() -> None:
    found = argv(packed=PACKED, instructionsFilePath="/raw/path/AGENTS.md")
    assert found[found.index("--add-dir") + 1] == BUNDLE
    assert found[found.index("--append-system-prompt-file") + 1] == f"{BUNDLE}/agent-instructions.md"
    assert "/raw/path/AGENTS.md" not in found
    resumed = argv({"runtime": {"sessionId": SESSION}}, packed=PACKED)
    assert "--add-dir" in resumed
    assert "--append-system-prompt-file" not in resumed


def test_command_line_without_a_bundle_names_no_instructions() -> None:
    assert {"--add-dir", "--append-system-prompt-file"}.isdisjoint(
        argv(instructionsFilePath="/paperclip/instructions.md")
    )
    assert_typescript_adapter_differs("`instructionsFilePath` is read in the Pod")


def test_prompt_names_the_agent_unless_there_is_a_template() -> None:
    ctx = a_context(**agent(), context={})
    prompt = a_plan(ctx).prompt
    assert "Test Agent" in prompt.text
    assert prompt.metrics["promptChars"] == len(prompt.text) > 0
    assert a_plan(ctx, promptTemplate="You are a helper.").prompt.text == "You are a helper."


def test_prompt_names_the_agent_beside_a_workspace() -> None:
    workspace = {"cwd": "/project", "strategy": "read-only", "workspaceId": "ws1", "branchName": "main"}
    assert "Test Agent" in a_plan(a_context(**agent(), context={"paperclipWorkspace": workspace})).prompt.text


def test_hook_for_long_outputs_is_installed_on_request_only() -> None:
    assert "--settings" not in argv()
    plan = a_plan(a_context(), enableRtk=True, rtkMaxOutputBytes=100_000)
    assert "--settings" in plan.argv
    files = "\n".join(plan.files.values())
    assert "PostToolUse" in files
    assert "100000" in files
    assert "50000" in "\n".join(a_plan(a_context(), enableRtk=True).files.values())
    assert_typescript_adapter_differs("`enableRtk` edits the settings in HOME")


def test_hook_for_long_outputs_needs_node_only() -> None:
    files = a_plan(a_context(), enableRtk=True).files
    (settings,) = (json.loads(text) for name, text in files.items() if name.endswith("settings.json"))
    (entry,) = settings["hooks"]["PostToolUse"]
    (command,) = (each["command"] for each in entry["hooks"])
    assert "then node " in command
    assert not any(name in command for name in ("curl", "wget", "apt", "pip", "npm"))


def bash(output: str) -> dict[str, Any]:
    return {"hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_response": output}


@pytest.mark.parametrize(
    "response", [{"stdout": "x" * 5000, "stderr": ""}, [{"type": "text", "text": "x" * 5000}]]
)
def test_long_output_is_cut(response: Any) -> None:
    changed = run_hook({**bash(""), "tool_response": response}, limit=1000)
    assert changed is not None
    assert "bytes cut]" in str(changed)
    assert len(str(changed)) < 1500


def test_cut_of_a_long_output_splits_no_character() -> None:
    changed = run_hook(bash("中中"), limit=5)
    assert changed is not None
    assert changed["updatedToolOutput"].startswith("中\n[")
    assert "\ufffd" not in str(changed)


# ── The plan ─────────────────────────────────────────────────────────────────────────────────────


def test_plan_has_job_prompt_arguments_and_sizes() -> None:
    plan = a_plan(a_context())
    manifest = job_manifest(plan)
    assert (manifest["metadata"]["name"], manifest["metadata"]["namespace"]) == (plan.job_name, "ns")
    assert plan.argv[0] == "claude"
    assert plan.prompt.text
    assert plan.prompt.metrics["promptChars"] == len(plan.prompt.text)
