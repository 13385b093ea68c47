"""`describe` of a run in the state folder, and malformed result annotations of Jobs."""

import pytest
from tests.support.dev_cluster_cli import DevClusterCli
from tests.support.objects import a_job

from paperclip_claude_k8s.cli.job_end import annotated_result, annotated_verdict
from paperclip_claude_k8s.cluster.labels import RESULT_ANNOTATION


async def test_describe_of_an_ended_run_proposes_the_logs_command(dev: DevClusterCli) -> None:
    _, run, _ = await dev.cli.run(*dev.new_run_args("-q"))
    code, reply, _ = await dev.cli.run("describe", run["run_id"])
    assert (code, reply["state"]) == (0, "Succeeded")
    assert [command.partition("  #")[0] for command in reply["next"]] == [f"claude-k8s logs {run['run_id']}"]


@pytest.mark.parametrize("text", ["[" * 9999, '{"a":' * 1600, "{", "[1]", "x" * 20_000])
def test_job_with_a_malformed_result_annotation_has_no_verdict(text: str) -> None:
    job = a_job(annotations={RESULT_ANNOTATION: text})
    assert (annotated_result(job), annotated_verdict(job)) == ({}, None)
