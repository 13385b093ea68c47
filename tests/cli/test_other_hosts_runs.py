"""An operator reads, watches, describes and cancels a run that a host started, which has no record here."""

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
    """Somebody with kubectl's rights and a state folder in which nothing is recorded."""

    cli: CommandRunner
    hosts_run: asyncio.Task[ExecutionResult]

    async def text(self, *args: str) -> str:
        code, out, err = await claude_k8s(*args, env=self.cli.environment())
        assert code == 0, err
        return out


@asynccontextmanager
async def operator_beside_host(dev: DevClusterCli, folder: Path) -> AsyncIterator[Operator]:
    """A host whose agent has printed `TRANSCRIPT` and works on."""
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


async def test_operator_sees_a_host_s_run(dev: DevClusterCli, tmp_path: Path) -> None:
    async with operator_beside_host(dev, tmp_path) as operator:
        listed = json.loads(await operator.text("jobs"))["jobs"]
        assert [(row["run_id"], row["state"]) for row in listed] == [(RUN, "Running")]
        assert await operator.text("jobs", "-A", "-o", "name", "-l", "paperclip.io/agent-id") == f"{RUN}\n"
        assert await operator.text("logs", RUN[:4]) == TRANSCRIPT.decode()
        tail = await operator.text("logs", listed[0]["job"], "--rendered", "--tail", "3", "--timestamps")
        assert len(tail.splitlines()) == 3
        assert await operator.text("logs", RUN, "--since", "2999-01-01") == ""
        page = await operator.text("describe", RUN[:4], "-o", "text")
        assert "Who works on it  process " in page
        assert "agent started" in page
        assert "FailedMount" not in page
        assert "tokens out" in page
        assert f"claude-k8s attach {RUN} -n {dev.cluster.namespace}  #" in page


async def test_host_and_operator_get_the_result_cancelled(dev: DevClusterCli, tmp_path: Path) -> None:
    async with operator_beside_host(dev, tmp_path) as operator:
        code, reply, _ = await operator.cli.run("cancel", RUN[:6])
        result = await operator.hosts_run
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


async def test_attached_operator_sees_the_run_to_its_end(dev: DevClusterCli, tmp_path: Path) -> None:
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


async def test_second_shell_shows_what_the_first_one_works_on(dev: DevClusterCli) -> None:
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


async def test_cancel_does_not_guess_between_a_record_and_a_run_on_the_cluster(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    async with operator_beside_host(dev, tmp_path) as operator:
        recorded = f"{RUN[:8]}-beef"
        state = State(operator.cli.state)
        state.write(
            Record(recorded, "2026-11-01T12:00:00Z", {"agent": {"id": "cli"}, "config": {}}, "reserved")
        )
        code, reply, _ = await operator.cli.run("cancel", RUN[:6])
        assert (code, reply["error"]) == (1, "ambiguous_run")
        assert RUN in reply["detail"]
        assert recorded in reply["detail"]
        assert not state.files(recorded).cancel_request.exists()
        code, reply, _ = await operator.cli.run("cancel", RUN)
        assert (code, reply["status"]) == (0, "cancelled")
