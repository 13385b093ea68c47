"""`claude-k8s run --dry-run`: print the objects that a run would create, and create nothing."""

import os
import sys
from typing import Any

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.checks.role import to_yaml
from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.entry import DONE, print_failure, print_text
from paperclip_claude_k8s.cli.grants import with_grants
from paperclip_claude_k8s.cli.options import check_claude, on_cluster
from paperclip_claude_k8s.cli.prompts import with_prompt
from paperclip_claude_k8s.cli.run_command import check_options, new_config, new_record, run_to_reply
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.call import CallProgress, ignore_log
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.known_secrets import mask_tree
from paperclip_claude_k8s.plan.manifest import job_manifest, secret_manifest
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.begin import begin_run, identity_of, read_config, read_context
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.prepare import prepare

NO_UID = "(uid of the Job)"


def dry_run(options: RunOptions) -> int:
    """Print Job and run Secret as YAML, without the values of secrets."""
    yaml_texts = list[str]()

    async def work() -> Reply:
        given = with_prompt(options)
        check_options(given)
        config, claude = new_config(given), check_claude(given.claude)
        async with on_cluster(config, devcluster=given.devcluster, claude=claude) as cluster_config:
            record = new_record(given, cluster_config)
            yaml_texts.append(to_yaml(objects_of(await _plan(record, quiet=given.quiet))))
        return {}

    error_reply = run_to_reply(work, CallProgress())
    if error_reply:
        return print_failure(error_reply)
    print_text(yaml_texts[0].removesuffix("\n"))
    return DONE


async def _plan(record: Record, *, quiet: bool) -> RunPlan:
    """The plan of the run. Raises `Stop`."""
    settings = with_grants(ProcessSettings.read(os.environ), record.grants)
    process = Process(settings)
    request = dict(record.request)
    config = {key: value for key, value in request.pop("config").items() if key not in quota_gate.URL_KEYS}
    on_log = ignore_log if quiet else _show_line
    try:
        ctx = read_context({**request, "runId": record.run_id, "config": config, "onLog": on_log})
        narrator, identity, settings_of_run = Narrator(ctx), identity_of(ctx), read_config(ctx)
        async with process.poller.with_stop_signal(ctx) as stoppable:
            await begin_run(stoppable, settings_of_run, settings, narrator)
            ports = process.ports(settings_of_run.kubeconfig, settings_of_run.kube_context)
            _, plan = await prepare(stoppable, identity, settings_of_run, ports, narrator)
    except RunFailure as failed:
        code, message = failed.failure.code, failed.failure.message
        raise Stop("task_failed", message, error_code=str(code)) from None
    finally:
        await process.shut_down()
    return plan


async def _show_line(_stream: str, text: str) -> None:
    print(neutral(text.rstrip("\n")), file=sys.stderr)  # noqa: T201


def objects_of(plan: RunPlan) -> list[dict[str, Any]]:
    """The Job, and its run Secret if the plan has one, with the length of each value instead of the value."""
    job = mask_tree(job_manifest(plan), plan.secret_values)
    if not plan.secret_data:
        return [job]
    secret = dict(secret_manifest(plan, JobRef(plan.namespace, plan.job_name, NO_UID)))
    for key in ("data", "stringData"):
        values = secret.get(key)
        if isinstance(values, dict):
            secret[key] = {name: f"({len(str(value))} characters)" for name, value in values.items()}
    return [job, secret]
