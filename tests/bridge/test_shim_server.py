"""What the npm package finds out about the server that loads it, and writes to the console of that server."""

import asyncio
import json
from importlib.resources import files

import pytest
from tests.support.programs import program

from paperclip_claude_k8s.bridge.package import MIN_SERVER

SHIM = files("paperclip_claude_k8s.bridge").joinpath("shim")


async def evaluated(module: str, expression: str) -> object:
    """The value of a JavaScript expression in Node, where `m` is a module of the package."""
    script = f"import * as m from {json.dumps(str(SHIM.joinpath(module)))};"
    script += f"console.log(JSON.stringify(await ({expression})))"
    process = await asyncio.create_subprocess_exec(
        program("node"), "--input-type=module", "-e", script, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return json.loads(output)


@pytest.mark.parametrize(
    ("versions", "are_older"),
    [
        (["2026.916.0", "2026.99.5", "2025.1200.0"], True),
        (["2026.916.1", "2026.916.1-canary.3", "2026.1001.0", "2027.1"], False),
    ],
)
async def test_server_version_is_compared_with_the_minimum_number_by_number(
    versions: list[str],
    are_older: bool,  # noqa: FBT001
) -> None:
    compared = f"{json.dumps(versions)}.map((version) => m.isOlder(version, {MIN_SERVER!r}))"
    found = await evaluated("server.js", compared)
    assert isinstance(found, list)
    assert found == [are_older] * len(versions)


async def test_log_format_is_text_if_the_servers_page_is_not_found() -> None:
    found = await evaluated("page.js", 'm.examine("/nowhere")')
    assert isinstance(found, dict)
    assert found["format"] == "text"
    assert found["why"]


LOG_AFTER_RUN = """(async () => {
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


async def test_line_logged_after_a_run_has_no_control_character() -> None:
    """After a run has ended, stderr lines with the adapter's prefix go to the server's console.

    An agent can print such lines, too.
    """
    shown = await evaluated("run.js", LOG_AFTER_RUN)
    assert shown == ["[paperclip] The Job stays", "[paperclip] \ufffd[2Jx\ufffd\ufffd"]
