"""Commands of an operator (`jobs`, `logs`, `attach` and others) on a run that a host process works on.

The operator's state folder has no record of the run.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cli_commands import CommandRunner, claude_k8s, running_command
from tests.support.dev_cluster_cli import TRANSCRIPT, DevClusterCli

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog, build_context

RUN = "2f00aa11-5a8e-4f63-9d5e-2b7f0c8e1a11"


@dataclass(frozen=True, slots=True)
class Operator:
    """A person with the rights that kubectl needs, and with an empty state folder."""

    cli: CommandRunner
    run_of_host: asyncio.Task[ExecutionResult]

    async def stdout_of(self, *args: str) -> str:
        code, out, err = await claude_k8s(*args, env=self.cli.environment())
        assert code == 0, err
        return out


@asynccontextmanager
async def operator_beside_host(dev: DevClusterCli, folder: Path) -> AsyncIterator[Operator]:
    """An operator, beside a host with a run whose agent has printed `TRANSCRIPT` and does not exit yet."""
    adapter = Adapter(ProcessSettings())
    config = {
        "kubeconfig": str(dev.cluster.kubeconfig),
        "namespace": dev.cluster.namespace,
        "image": "local/agent:1",
        "env": dev.env_of_waiting_agent(),
    }
    dev.new_run_args()  # writes the recording that the agent prints
    context = build_context(HostLog(), runId=RUN, config=config)
    runner = CommandRunner(folder / "operator", {"KUBECONFIG": str(dev.cluster.kubeconfig)})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(adapter.execute(context))
        await dev.wait_for_output()
        try:
            yield Operator(runner, running)
        finally:
            dev.end_agent()
            await asyncio.wait([running])
            await adapter.shutdown()


async def test_jobs_logs_and_describe_show_a_run_of_a_host(dev: DevClusterCli, tmp_path: Path) -> None:
    async with operator_beside_host(dev, tmp_path) as operator:
        listed = json.loads(await operator.stdout_of("jobs"))["jobs"]
        assert [(row["run_id"], row["state"]) for row in listed] == [(RUN, "Running")]
        assert (
            await operator.stdout_of("jobs", "-A", "-o", "name", "-l", "paperclip.io/agent-id") == f"{RUN}\n"
        )
        assert await operator.stdout_of("logs", RUN[:4]) == TRANSCRIPT.decode()
        tail = await operator.stdout_of("logs", listed[0]["job"], "--rendered", "--tail", "3", "--timestamps")
        assert len(tail.splitlines()) == 3
        assert await operator.stdout_of("logs", RUN, "--since", "2999-01-01") == ""
        page = await operator.stdout_of("describe", RUN[:4], "-o", "text")
        assert "Who works on it  process " in page
        assert "agent started" in page
        assert "FailedMount" not in page, "no Event reports a problem"
        assert "tokens out" in page
        assert f"claude-k8s attach {RUN} -n {dev.cluster.namespace}  #" in page


async def test_cancel_of_a_hosts_run_is_reported_to_the_operator_and_the_host(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    async with operator_beside_host(dev, tmp_path) as operator:
        code, reply, _ = await operator.cli.run("cancel", RUN[:6])
        result = await operator.run_of_host
        assert (code, reply["status"], reply["agent_stopped"]) == (0, "cancelled", True)
        assert "reports the run as cancelled" in reply["detail"]
        assert result.error_code == "cancelled"
        assert "with `claude-k8s cancel`" in (result.error_message or "")
        code, reply, err = await operator.cli.run("cancel", RUN[:6])
        assert (code, reply["error"]) == (1, "unknown_run")
        assert "there is no run '2f00aa'" in err


async def read_until(part: bytes, stream: asyncio.StreamReader | None) -> bytes:
    """The lines of a running command up to the first one that contains `part`."""
    assert stream is not None
    shown = b""
    while part not in shown:
        line = await stream.readline()
        assert line, shown
        shown += line
    return shown


async def test_attach_shows_a_run_of_a_host_until_it_has_ended(dev: DevClusterCli, tmp_path: Path) -> None:
    async with operator_beside_host(dev, tmp_path) as operator:
        async with running_command("attach", RUN[:6], env=operator.cli.environment()) as process:
            shown = await read_until(b"Bash", process.stdout)
            dev.end_agent()
            out, err = await process.communicate()
        text = (shown + out).decode()
        assert process.returncode == 0, err
        assert "Who works on it: process " in text
        assert f"Run {RUN} succeeded" in text.splitlines()[-1]
        assert text.count("→ Bash") == 1


async def test_second_command_with_the_same_run_id_shows_the_run_of_the_first(dev: DevClusterCli) -> None:
    run_id = await dev.submit(**dev.env_of_waiting_agent())
    args = ["run", "--run-id", run_id]
    async with running_command(*args, "-q", env=dev.cli.environment()) as first:
        await dev.cli.wait_until(lambda: len(dev.cli.transcript()) == len(TRANSCRIPT))
        async with running_command(*args, env=dev.cli.environment()) as second:
            shown = await read_until(b"Bash", second.stderr)
            dev.end_agent()
            _, err = await second.communicate()
        await first.communicate()
    text = (shown + err).decode()
    assert second.returncode == 0, text
    assert "Pod running" in text
    assert text.count("→ Bash") == 1
    assert f"lines={len(TRANSCRIPT.splitlines())}" in text


async def test_cancel_refuses_an_id_prefix_of_both_a_record_and_a_run_on_the_cluster(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    async with operator_beside_host(dev, tmp_path) as operator:
        recorded = f"{RUN[:8]}-beef"
        state = State(operator.cli.state)
        state.write(
            Record(recorded, "2026-11-01T12:00:00Z", {"agent": {"id": "cli"}, "config": {}}, phase="reserved")
        )
        code, reply, _ = await operator.cli.run("cancel", RUN[:6])
        assert (code, reply["error"]) == (1, "ambiguous_run")
        assert RUN in reply["detail"]
        assert recorded in reply["detail"]
        assert not state.files(recorded).cancel_request.exists()
        code, reply, _ = await operator.cli.run("cancel", RUN)
        assert (code, reply["status"]) == (0, "cancelled")
