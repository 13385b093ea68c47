"""`claude-k8s jobs --watch`: start and end of runs, a server that goes away, and a reader that leaves."""

import asyncio
import json
import signal
from asyncio.subprocess import Process
from pathlib import Path

from tests.support.cli_commands import claude_k8s, running_command
from tests.support.dev_cluster_cli import DevClusterCli
from tests.support.flaky_proxy import flaky_proxy


async def next_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def next_error(process: Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        return (await process.stderr.readline()).decode().rstrip("\n")


def watch(dev: DevClusterCli, *more: str) -> list[str]:
    return ["jobs", "--watch", "--kubeconfig", str(dev.cluster.kubeconfig), *more]


async def test_watch_shows_start_end_and_deletion_in_columns(dev: DevClusterCli) -> None:
    async with running_command(*watch(dev, "-o", "text"), env=dev.cli.environment()) as process:
        assert await next_error(process) == "No runs yet"
        run = await dev.submit()
        header, rows = await next_line(process), [await next_line(process)]
        while " Succeeded " not in rows[-1]:
            rows.append(await next_line(process))
        await dev.delete_jobs()
        while " Gone " not in rows[-1]:
            rows.append(await next_line(process))
        assert {row[: len(run)] for row in rows} == {run}
        columns = [header.index(name) for name in ("STATE", "AGE", "AGENT", "JOB")]
        assert all(row[start - 1] == " " and row[start] != " " for row in rows for start in columns), rows
        process.send_signal(signal.SIGINT)
        rest, errors = await process.communicate()
    assert (rest, errors, process.returncode) == (b"", b"", -signal.SIGINT)


async def test_watch_as_json_is_one_object_per_change(dev: DevClusterCli) -> None:
    run = await dev.submit(**dev.env_of_waiting_agent())
    async with running_command(*watch(dev), env=dev.cli.environment()) as process:
        assert json.loads(await next_line(process))["run_id"] == run
        await dev.delete_jobs()
        states = [""]
        while states[-1] != "Gone":
            states.append(json.loads(await next_line(process))["state"])
        assert states.count("Gone") == 1


async def test_watch_says_that_the_server_is_gone_and_is_back(dev: DevClusterCli, tmp_path: Path) -> None:
    async with flaky_proxy(str(dev.cluster.kubeconfig), tmp_path) as (proxy, kubeconfig):
        args = ["jobs", "-w", "--kubeconfig", str(kubeconfig)]
        async with running_command(*args, env=dev.cli.environment()) as process:
            assert await next_error(process) == "No runs yet"
            proxy.unplug()
            assert (await next_error(process)).startswith("Cannot watch the Jobs: ")
            run = await dev.submit()
            proxy.plug_in()
            assert await next_error(process) == "Watching the Jobs again"
            assert json.loads(await next_line(process))["run_id"] == run


async def test_watch_ends_with_its_reader_although_nothing_changes(dev: DevClusterCli) -> None:
    run = await dev.submit(**dev.env_of_waiting_agent())
    await dev.wait_for_output()
    for args in (watch(dev, "-o", "name"), ["logs", "-f", run], ["attach", run]):
        prefix = ["sh", "-c", '"$@" | head -n 1', "-"]
        async with asyncio.timeout(30):
            _, out, err = await claude_k8s(*args, env=dev.cli.environment(), prefix=prefix)
        assert (len(out.splitlines()), err) == (1, "")
    dev.end_agent()
