"""`claude-k8s jobs --watch`: start, end and deletion of runs, loss of the server, and a closed stdout."""

import asyncio
import json
import signal
from pathlib import Path

from tests.support.cli_commands import RunningCommand, claude_k8s, running_command
from tests.support.dev_cluster_cli import DevClusterCli
from tests.support.flaky_proxy import flaky_proxy


async def next_stdout_line(process: RunningCommand) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def next_stderr_line(process: RunningCommand) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        return (await process.stderr.readline()).decode().rstrip("\n")


def watch_args(dev: DevClusterCli, *more: str) -> list[str]:
    return ["jobs", "--watch", "--kubeconfig", str(dev.cluster.kubeconfig), *more]


async def test_watch_shows_start_end_and_deletion_in_columns(dev: DevClusterCli) -> None:
    async with running_command(*watch_args(dev, "-o", "text"), env=dev.cli.environment()) as process:
        assert await next_stderr_line(process) == "No runs yet"
        run = await dev.submit()
        header, rows = await next_stdout_line(process), [await next_stdout_line(process)]
        while " Succeeded " not in rows[-1]:
            rows.append(await next_stdout_line(process))
        await dev.delete_jobs()
        while " Gone " not in rows[-1]:
            rows.append(await next_stdout_line(process))
        assert {row[: len(run)] for row in rows} == {run}
        column_starts = [header.index(name) for name in ("STATE", "AGE", "AGENT", "JOB")]
        assert all(row[at - 1] == " " and row[at] != " " for row in rows for at in column_starts), rows
        process.send_signal(signal.SIGINT)
        rest, errors = await process.communicate()
    assert (rest, errors, process.returncode) == (b"", b"", -signal.SIGINT)


async def test_watch_as_json_prints_one_object_per_line(dev: DevClusterCli) -> None:
    run = await dev.submit(**dev.env_of_waiting_agent())
    async with running_command(*watch_args(dev), env=dev.cli.environment()) as process:
        assert json.loads(await next_stdout_line(process))["run_id"] == run
        await dev.delete_jobs()
        state = ""
        while state != "Gone":
            state = json.loads(await next_stdout_line(process))["state"]


async def test_watch_reports_that_the_server_is_unreachable_and_reachable_again(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    async with flaky_proxy(str(dev.cluster.kubeconfig), tmp_path) as (proxy, kubeconfig):
        args = ["jobs", "-w", "--kubeconfig", str(kubeconfig)]
        async with running_command(*args, env=dev.cli.environment()) as process:
            assert await next_stderr_line(process) == "No runs yet"
            proxy.unplug()
            assert (await next_stderr_line(process)).startswith("Cannot watch the Jobs: ")
            run = await dev.submit()
            proxy.plug_in()
            assert await next_stderr_line(process) == "Watching the Jobs again"
            assert json.loads(await next_stdout_line(process))["run_id"] == run


async def test_command_ends_when_its_stdout_is_closed_although_nothing_changes(dev: DevClusterCli) -> None:
    run = await dev.submit(**dev.env_of_waiting_agent())
    await dev.wait_for_output()
    for args in (watch_args(dev, "-o", "name"), ["logs", "-f", run], ["attach", run]):
        prefix = ["sh", "-c", '"$@" | head -n 1', "-"]
        async with asyncio.timeout(30):
            _, out, err = await claude_k8s(*args, env=dev.cli.environment(), prefix=prefix)
        assert (len(out.splitlines()), err) == (1, "")
    dev.end_agent()
