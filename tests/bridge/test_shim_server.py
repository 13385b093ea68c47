"""What the npm package finds out about the server that loads it."""

import asyncio
import json
from importlib.resources import files

import pytest
from tests.support.programs import program

from paperclip_claude_k8s.bridge.package import MIN_SERVER

SHIM = files("paperclip_claude_k8s.bridge").joinpath("shim")


async def evaluated(module: str, expression: str) -> object:
    """The JSON value of an expression with the exports of a module of the package, in Node."""
    script = f"import * as m from {json.dumps(str(SHIM.joinpath(module)))};"
    script += f"console.log(JSON.stringify(await ({expression})))"
    process = await asyncio.create_subprocess_exec(
        program("node"), "--input-type=module", "-e", script, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return json.loads(output)


@pytest.mark.parametrize(
    ("versions", "older"),
    [
        (["2026.916.0", "2026.99.5", "2025.1200.0"], {True}),
        (["2026.916.1", "2026.916.1-canary.3", "2026.1001.0", "2027.1"], {False}),
    ],
)
async def test_server_version_is_compared_by_numbers(versions: list[str], older: set[bool]) -> None:
    compared = f"{json.dumps(versions)}.map((version) => m.isOlder(version, {MIN_SERVER!r}))"
    found = await evaluated("server.js", compared)
    assert isinstance(found, list)
    assert set(found) == older


async def test_transcripts_are_text_if_the_servers_page_is_not_found() -> None:
    found = await evaluated("page.js", 'm.examine("/nowhere")')
    assert isinstance(found, dict)
    assert found["format"] == "text"
    assert found["why"]


LATE = """(async () => {
  const shown = [];
  console.warn = (line) => shown.push(line);
  let callbacks;
  const bridge = { call: async (_, __, given) => { callbacks = given.callbacks; return {}; } };
  const watchRun = () => ({ end: async () => null, stop() {} });
  const parts = { bridge, watchRun, hostTexts() {}, logFormat: () => ({}), whileServerRuns: () => () => {} };
  await m.executeBy(parts, { runId: "r", onLog() {} });
  callbacks.onLog("stderr", "[paperclip] The Job stays\\n");
  callbacks.onLog("stderr", "[paperclip] \\u001b[2Jx\\u009b\\r\\nServer stopped\\n");
  callbacks.onLog("stdout", "[paperclip] of the agent\\n");
  return shown;
})()"""
"""Ends a run and then calls its `onLog` three times; returns the lines on the server's console."""


async def test_late_line_in_the_log_of_the_server_has_no_control_character() -> None:
    """After a run's end, only warnings of the adapter are logged, but an agent can print similar lines."""
    shown = await evaluated("run.js", LATE)
    assert shown == ["[paperclip] The Job stays", "[paperclip] \ufffd[2Jx\ufffd\ufffd"]
