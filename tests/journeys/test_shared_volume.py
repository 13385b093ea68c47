"""Faults of the run log on the shared volume: the host still gets the whole output, and a warning."""

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.support.home_pod import Home, home_on_dev, home_on_real
from tests.support.programs import mounted_tmpfs

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

INIT = '{"type":"system","subtype":"init","session_id":"0c6c1f0e-5d5c-4f63-9c1e-3a2f6a1b7d10"}'
LINE = '{"type":"user","n":%d,"text":"%s"}'
RESULT = '{"duration_api_ms":1,"subtype":"success","is_error":false,"result":"done","type":"result"}'


def printing_agent(lines: int, size: int, pause: float, wait: str = ":") -> tuple[str, str]:
    """A script that prints `lines` lines of about `size` bytes, `pause` seconds apart; and its output.

    `wait`: a command before the result.
    """
    text = "x" * size
    script = (
        f"echo '{INIT}'; x=$(head -c {size} /dev/zero | tr '\\0' x); i=0; "
        f"while [ $i -lt {lines} ]; do printf '{LINE}\\n' $i $x; i=$((i+1)); sleep {pause}; done; {wait}; "
        f"echo '{RESULT}'"
    )
    return script, "".join(f"{line}\n" for line in (INIT, *(LINE % (n, text) for n in range(lines)), RESULT))


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    async with home_on_dev(tmp_path) if request.param == "devcluster" else home_on_real() as opened:
        yield opened


def assert_whole(result: ExecutionResult, host_log: HostLog, expected: str) -> list[str]:
    """Check that the run succeeded with its whole output; returns the warnings about the volume."""
    assert result.error_message is None
    assert host_log.stdout == expected
    assert result.result_json is not None
    log = result.result_json["log"]
    assert (log["complete"], log["bytes"], log["gaps"]) == (True, len(expected), [])
    return [text for text in result.result_json.get("warnings", []) if "shared volume" in text]


async def test_healthy_volume_causes_no_warning(home: Home) -> None:
    script, expected = printing_agent(lines=10, size=10, pause=0.05)
    ada = {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    result, host_log = await home.site.run(
        {"CLAUDE_SCRIPT": script}, agent=ada, config={"retainRunLogs": True}
    )
    assert assert_whole(result, host_log, expected) == []
    assert "shared volume" not in host_log.status + host_log.stderr
    (file,) = (home.volume / "run-logs" / "co" / ada["id"]).iterdir()
    assert re.fullmatch(r"[0-9a-f-]{36}\.[0-9a-f]{8}\.ndjson", file.name)
    assert file.read_bytes() == expected.encode()


async def test_full_volume_is_reported_and_the_run_succeeds(home: Home) -> None:
    script, expected = printing_agent(lines=20, size=100_000, pause=0)
    ada = {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    # this run creates the folders as the agent's user
    await home.site.run({"CLAUDE_SCRIPT": printing_agent(lines=1, size=1, pause=0)[0]}, agent=ada)
    with mounted_tmpfs(home.volume / "run-logs" / "co" / ada["id"], "size=300k,uid=1000,gid=1000,mode=0700"):
        result, host_log = await home.site.run({"CLAUDE_SCRIPT": script}, agent=ada)
    (warning,) = assert_whole(result, host_log, expected)
    assert "No space left on device" in warning
    assert "No space left on device" in host_log.stderr


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def append_garbage(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b'{"type":"result","subtype":"error_max_turns","is_error":true}\ngarbage\n')


def truncate(file: Path) -> None:
    os.truncate(file, 10)


@pytest.mark.parametrize("damage", [Path.unlink, replace_by_pipe, append_garbage, truncate])
async def test_damaged_run_log_is_reported_and_the_run_succeeds(
    home: Home, damage: Callable[[Path], None]
) -> None:
    ada = {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    damaged = f"{ada['id']}.damaged"
    wait = f'until [ -e "$HOME/{damaged}" ]; do sleep 0.1; done'
    script, expected = printing_agent(lines=30, size=10, pause=0.1, wait=wait)

    async def damage_the_log() -> None:
        logs = home.volume / "run-logs" / "co" / ada["id"]
        async with asyncio.timeout(120):
            while not (files := [log for log in logs.glob("*.ndjson") if log.stat().st_size > 100]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        damage(files[0])
        (home.volume / damaged).touch()

    async with asyncio.TaskGroup() as group:
        group.create_task(damage_the_log())
        running = group.create_task(home.site.run({"CLAUDE_SCRIPT": script}, agent=ada))
    warnings = assert_whole(*running.result(), expected)
    assert warnings
    assert "removed or changed" in warnings[0]
    assert not any(home.volume.glob(f"run-logs/co/{ada['id']}/*"))
