"""An agent that runs the real Claude CLI in Pods of a real cluster, with a scripted model API."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.home_pod import Home
from tests.support.scripted_api import MODEL, Answer, ScriptedApi, claude_image, scripted_api

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

MCP_SERVER = r"""#!/bin/bash
# An MCP server over stdio with one tool, which counts the letters of a word.
schema='{"type":"object","properties":{"word":{"type":"string"}},"required":["word"]}'
while IFS= read -r line; do
  id=$(jq -c .id <<<"$line")
  case $(jq -r .method <<<"$line") in
    initialize) result=$(jq -c '{protocolVersion: .params.protocolVersion, capabilities: {tools: {}},
      serverInfo: {name: "letters", version: "1"}}' <<<"$line") ;;
    tools/list) result="{\"tools\":[{\"name\":\"count\",\"inputSchema\":$schema}]}" ;;
    tools/call) word=$(jq -r .params.arguments.word <<<"$line")
      result="{\"content\":[{\"type\":\"text\",\"text\":\"$KEY counts ${#word}\"}]}" ;;
    *) result="{}" ;;
  esac
  [ "$id" = null ] || echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$result}"
done
"""


@dataclass(frozen=True, slots=True)
class CliRun:
    """One run of the real CLI: its result, what the host received, and the API that it used."""

    result: ExecutionResult
    host_log: HostLog
    api: ScriptedApi

    @property
    def session(self) -> str:
        """The session's id, which the CLI printed and the result must name."""
        printed = {json.loads(line)["session_id"] for line in self.host_log.stdout.splitlines()}
        assert self.result.session_id in printed
        assert self.result.session_params is not None
        assert self.result.session_params["sessionId"] == self.result.session_id
        return str(self.result.session_id)

    def assert_success(self, summary: str) -> None:
        """Check that the run succeeded with this answer of the model, and with the right tokens and cost."""
        result = self.result
        assert (result.error_code, result.error_message) == (None, None), self.host_log.status
        assert (result.exit_code, result.summary) == (0, summary)
        self.assert_accounted()

    def assert_accounted(self) -> None:
        """Check that tokens and cost are those that the API gave out, and that the output is complete."""
        assert self.result.usage is not None
        used, given = self.result.usage, self.api.usage()
        tokens = (used.input_tokens, used.output_tokens, used.cached_input_tokens)
        assert tokens == (given.input_tokens, given.output_tokens, given.cached_input_tokens)
        assert self.result.cost_usd == pytest.approx(self.api.cost())
        self.assert_complete()

    def assert_complete(self) -> None:
        """Check that the host received the whole output, with the session's id."""
        assert self.result.result_json is not None
        assert self.result.result_json["log"]["complete"] is True, self.host_log.status
        assert self.session


@dataclass(slots=True)
class CliAgent:
    """An agent of the real CLI, whose sessions are in a folder of its own on the shared volume."""

    home: Home
    folder: Path
    """Where the scripted API keeps the requests."""
    user: int = 1000
    config: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"cli-{uuid.uuid4().hex[:8]}")

    async def run(self, *steps: Answer, env: Mapping[str, str] | None = None, **more: Any) -> CliRun:
        """One run, to which the API gives these answers.

        `config` in `more` extends the agent's config; other keys are those of the host's context.
        """
        async with scripted_api(self.folder / f"{uuid.uuid4().hex}.jsonl", *steps) as api:
            variables = {**api.env, "CLAUDE_CONFIG_DIR": f"/paperclip/{self.name}", **(env or {})}
            own = {"image": claude_image(), "model": MODEL, "runAsUser": self.user, "env": variables}
            config = {**own, **self.config, **more.pop("config", {})}
            identity = {"id": self.name, "companyId": "co", "name": "Ada"}
            result, host_log = await self.home.site.run(config=config, agent=identity, **more)
            return CliRun(result, host_log, api)

    async def resume(self, earlier: CliRun, *steps: Answer, **more: Any) -> CliRun:
        """One run that resumes the session of an earlier one."""
        return await self.run(*steps, runtime={"sessionParams": earlier.result.session_params}, **more)

    def transcript(self, run: CliRun) -> Path:
        """The file in which the CLI keeps the session of this run."""
        (file,) = (self.home.volume / self.name).glob(f"projects/*/{run.session}.jsonl")
        return file

    def mcp_server(self, key: str) -> dict[str, Any]:
        """Put the program `MCP_SERVER` on the shared volume; returns how the CLI starts it.

        The server's answers contain `key`.
        """
        script = self.home.volume / f"letters-{uuid.uuid4().hex}.sh"
        script.write_text(MCP_SERVER, encoding="utf-8")
        script.chmod(0o755)
        return {"command": f"/paperclip/{script.name}", "env": {"KEY": key}}
