"""`run --dry-run` prints what a run would create, and creates nothing."""

import json

import yaml
from tests.support.cli_commands import claude_k8s
from tests.support.dev_cluster_cli import DevClusterCli

SECRET = "sk-ant-api03-0123456789"  # made up


async def test_dry_run_prints_job_and_secret_without_secret_values(dev: DevClusterCli) -> None:
    args = dev.new_run_args("--dry-run", MY_TOKEN=SECRET)
    code, out, err = await claude_k8s(*args, env=dev.cli.environment())
    assert code == 0, err
    job, secret = yaml.safe_load_all(out)
    assert (job["kind"], secret["kind"]) == ("Job", "Secret")
    assert job["metadata"]["name"] == secret["metadata"]["name"]
    assert secret["stringData"]["prompt.txt"] == "(3 characters)"  # the prompt is "Go."
    assert secret["stringData"]["env.MY_TOKEN"] == f"({len(SECRET)} characters)"
    assert SECRET not in out + err
    assert await dev.job_names() == []
    assert dev.cli.record() is None


async def test_dry_run_of_an_invalid_config_names_the_setting(dev: DevClusterCli) -> None:
    args = dev.new_run_args("--dry-run")
    path = dev.cli.folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "timeoutSec": "soon"}), encoding="utf-8")
    code, out, err = await claude_k8s(*args, env=dev.cli.environment())
    assert (code, out) == (1, "")
    assert "timeoutSec" in err


async def test_dry_run_reads_the_prompt_from_a_file(dev: DevClusterCli) -> None:
    command, _prompt_option, _prompt, *rest = dev.new_run_args("--dry-run")
    prompt = dev.cli.folder / "prompt.txt"
    prompt.write_text("Go on.", encoding="utf-8")
    code, out, err = await claude_k8s(command, "--prompt-file", str(prompt), *rest, env=dev.cli.environment())
    assert code == 0, err
    assert "(6 characters)" in out


async def test_dry_run_with_a_run_id_is_refused(dev: DevClusterCli) -> None:
    code, out, err = await claude_k8s("run", "--dry-run", "--run-id", "x", env=dev.cli.environment())
    assert (code, out) == (1, "")
    assert "--dry-run prints the objects of a new run" in err
