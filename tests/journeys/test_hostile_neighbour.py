"""An agent that attacks a victim over a shared volume cannot change the victim's inputs or delay its stop."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.home_pod import RECEIVED_PATH, Home, home_on_dev, home_on_real
from tests.support.policies import TEMPORARY_FOLDERS

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.error_codes import ErrorCode
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

INIT = '{"type":"system","subtype":"init","session_id":"0c6c1f0e-5d5c-4f63-9c1e-3a2f6a1b7d10"}'
RESULT = '{"duration_api_ms":1,"subtype":"success","is_error":false,"result":"done","type":"result"}'
VICTIM_SCRIPT = f"""
echo '{INIT}'
while [ $# -gt 0 ]; do
  [ "$1" != --append-system-prompt-file ] || echo "instructions: $(cat "$2")"
  shift
done
echo "evil prompts: $(grep -c EVIL {RECEIVED_PATH})"
echo '{RESULT}'
"""
"""Prints its instructions, and how many lines of its prompt contain EVIL."""
REPLACE_ALL = f"""
echo '{INIT}'; cd "$HOME"; touch attack-runs
while [ ! -e attack-ends ]; do
  for file in .paperclip*/instances/*/companies/*/*/*/agent-instructions.md run-files/*/prompt.txt; do
    [ -f "$file" ] && ! grep -q EVIL "$file" || continue
    mv "${{file%/*}}" "${{file%/*}}.stolen$$" && mkdir "${{file%/*}}" && echo EVIL >"$file"
  done 2>/dev/null
done
rm -f attack-runs; echo '{RESULT}'
"""
"""Replaces the folders that the Paperclip host has written by folders of its own."""
REPLACE_RUN_LOGS = f"""
echo '{INIT}'; cd "$HOME"; touch attack-runs
while [ ! -e attack-ends ]; do
  for file in run-logs/co/VICTIM_ID/*.ndjson; do
    [ -e "$file" ] && rm -rf "$file" && truncate -s 1T "$file"
  done 2>/dev/null
  sleep 0.2
done
rm -f attack-runs; echo '{RESULT}'
"""
"""Puts a sparse file of one terabyte in place of the run log of the agent VICTIM_ID, again and again."""


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    async with home_on_dev(tmp_path) if request.param == "devcluster" else home_on_real() as opened:
        for name in ("attack-runs", "attack-ends"):
            (opened.volume / name).unlink(missing_ok=True)
        yield opened
        for stolen in opened.volume.glob("**/*.stolen*"):
            shutil.rmtree(stolen)


def new_agent() -> dict[str, str]:
    return {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}


async def wait_for(path: Path) -> None:
    async with asyncio.timeout(120):
        while not path.exists():  # noqa: ASYNC110, ASYNC240  # an agent makes it
            await asyncio.sleep(0.1)


async def test_agent_cannot_change_the_inputs_of_another_agent(home: Home, tmp_path: Path) -> None:
    instructions = tmp_path / "AGENTS.md"
    instructions.write_text("Count calmly.", encoding="utf-8")
    context = {"taskId": "t", "paperclipTaskMarkdown": "count " * 200_000}
    config = {"instructionsFilePath": str(instructions)}
    results = []
    async with asyncio.TaskGroup() as group:
        attacking = group.create_task(home.site.run({"CLAUDE_SCRIPT": REPLACE_ALL}, agent=new_agent()))
        await wait_for(home.volume / "attack-runs")
        try:
            for _ in range(5):
                victim: Any = home.site.run(
                    {"CLAUDE_SCRIPT": VICTIM_SCRIPT}, agent=new_agent(), config=config, context=context
                )
                results.append(await victim)
        finally:
            (home.volume / "attack-ends").touch()
    assert attacking.result()[0].error_message is None
    for result, host_log in results:
        assert result.error_code in {None, ErrorCode.FILES_CHANGED}, result.error_message
        if result.error_code is None:
            assert "instructions: Count calmly.\n" in host_log.stdout
            assert "evil prompts: 0\n" in host_log.stdout
        else:
            assert host_log.stdout == ""
            assert "was changed before the agent started" in (result.error_message or "")


ESCAPE = {"name": "claude", "volumeMounts": [{"name": "home", "mountPath": "/all"}]}
"""A container of a `podTemplate` that mounts the whole shared volume."""


async def test_agents_of_other_companies_see_nothing_of_a_company(home: Home, tmp_path: Path) -> None:
    policy = TEMPORARY_FOLDERS.model_copy(update={"company_volumes": True})
    env = {"HOSTNAME": "paperclip-0", "PAPERCLIP_NAMESPACE": home.site.namespace}
    adapter = Adapter(ProcessSettings(env=env, policy=policy))
    site, instructions = replace(home.site, adapter=adapter), tmp_path / "AGENTS.md"
    instructions.write_text("Count calmly.", encoding="utf-8")
    context = {"taskId": "t", "paperclipTaskMarkdown": "count " * 200_000}
    config = {"instructionsFilePath": str(instructions), "retainRunLogs": True}
    listing = f"echo '{INIT}'; ls -A \"$HOME\"; find \"$HOME/\" | grep -c co-a; echo '{RESULT}'"
    ada, bob = new_agent() | {"companyId": "co-a"}, new_agent() | {"companyId": "co-b"}
    try:
        result, host_log = await site.run(
            {"CLAUDE_SCRIPT": VICTIM_SCRIPT}, agent=ada, config=config, context=context
        )
        assert result.error_message is None
        assert "instructions: Count calmly.\n" in host_log.stdout
        assert "evil prompts: 0\n" in host_log.stdout
        (run_log,) = (home.volume / "companies" / "co-a" / "run-logs" / "co-a" / ada["id"]).iterdir()
        assert run_log.read_text(encoding="utf-8") == host_log.stdout
        seen, host_log = await site.run({"CLAUDE_SCRIPT": listing}, agent=bob)
        assert seen.error_message is None
        assert "\n0\n" in host_log.stdout
        assert "companies" not in host_log.stdout
        refused, _ = await site.run(agent=bob, config={"podTemplate": {"spec": {"containers": [ESCAPE]}}})
        assert refused.error_code == ErrorCode.POLICY_REFUSED
    finally:
        await adapter.shutdown()


async def test_agent_cannot_delay_the_stop_of_another_agent(home: Home) -> None:
    victim, stop, host_log = new_agent(), asyncio.Event(), HostLog()
    script = REPLACE_RUN_LOGS.replace("VICTIM_ID", victim["id"])
    printing = f"echo '{INIT}'; while :; do echo '{{\"type\":\"user\"}}'; sleep 0.1; done"
    async with asyncio.TaskGroup() as group:
        group.create_task(home.site.run({"CLAUDE_SCRIPT": script}, agent=new_agent()))
        await wait_for(home.volume / "attack-runs")
        running = group.create_task(
            home.site.run(
                {"CLAUDE_SCRIPT": printing},
                agent=victim,
                host_log=host_log,
                signal=stop,
                config={"stopGraceSec": 2},
            )
        )
        async with asyncio.timeout(120):
            while host_log.stdout.count("\n") < 30:  # noqa: ASYNC110  # polls a run
                await asyncio.sleep(0.1)
        stop.set()
        stopped_at = loop_time()
        result, _ = await running
        took = loop_time() - stopped_at
        (home.volume / "attack-ends").touch()
    assert result.error_code == ErrorCode.CANCELLED
    assert took < 2 + 60  # `stopGraceSec`, and a minute; reading one terabyte takes many minutes
