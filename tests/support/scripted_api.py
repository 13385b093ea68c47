"""A scripted model API for the real Claude CLI. It keeps the requests, and counts its tokens and their price.

Two environment variables name what the journeys with the real CLI need. `CLAUDE_IMAGE`: an image with the
CLI, present on the nodes of the cluster. `SCRIPTED_API`: a Python program with a function `serve`, which
answers the requests of the CLI from a script.
"""

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.programs import skip_or_fail
from tests.support.real_namespace import THIS_MACHINE

from paperclip_claude_k8s.claude.accounting import TokenUsage

MODEL = "claude-sonnet-4-5-20250929"
_PRICES = (3.0, 3.75, 15.0, 0.3)
"""US dollars per million tokens of `MODEL`: input, cache writes, output, cache reads."""

Answer = dict[str, Any]
"""A step of the script: what the API answers to one request. Also the type of the blocks in an answer."""


def claude_image() -> str:
    """The image with the real CLI. Without it the test is skipped, or fails as `skip_or_fail` says."""
    return os.environ.get("CLAUDE_IMAGE") or skip_or_fail("CLAUDE_IMAGE names no image with the real CLI")


def text(words: str) -> Answer:
    """A block of an answer: text."""
    return {"type": "text", "text": words}


def tool(use: str, name: str, /, **arguments: Any) -> Answer:
    """A block of an answer: the use of a tool. `use`: its id, unique within the script."""
    return {"type": "tool_use", "id": use, "name": name, "input": arguments}


def answer(*blocks: Answer, tokens: tuple[int, int, int, int], **more: Any) -> Answer:
    """An answer with these blocks. `tokens`: input, cache writes, output, cache reads."""
    uncached, cache_writes, output, cache_reads = tokens
    usage = {
        "input_tokens": uncached,
        "cache_creation_input_tokens": cache_writes,
        "cache_creation": {"ephemeral_5m_input_tokens": cache_writes, "ephemeral_1h_input_tokens": 0},
        "cache_read_input_tokens": cache_reads,
        "output_tokens": output,
    }
    return {"content": list(blocks), "usage": usage, **more}


def refused(status: int, kind: str, message: str, **more: Any) -> Answer:
    """An error that the API answers to this request and all later ones."""
    return {"status": status, "error_type": kind, "message": message, "repeat": True, **more}


@dataclass(slots=True)
class ScriptedApi:
    """A running API, and the requests that it got.

    A request beyond the script fails the test, unless the script's last answer has `repeat`.
    """

    port: int
    steps: Sequence[Answer]
    log: Path

    @property
    def env(self) -> dict[str, str]:
        """Environment variables with which the CLI in a Pod uses this API and no server on the internet."""
        return {
            "ANTHROPIC_BASE_URL": f"http://{THIS_MACHINE}:{self.port}",
            "ANTHROPIC_API_KEY": "sk-ant-dummy-not-a-key",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }

    def requests(self) -> list[dict[str, Any]]:
        """The bodies of the requests for a message, in order."""
        return [entry["body"] for entry in self._entries()]

    def request_text(self, number: int) -> str:
        """The body of the request with this index as JSON text; -1: of the last request."""
        return json.dumps(self.requests()[number], ensure_ascii=False)

    def tool_result(self, use: str) -> Answer:
        """The block with the result of this use of a tool, as the CLI sent it to the API."""
        messages = [message for body in self.requests() for message in body["messages"]]
        blocks = [block for message in messages for block in message["content"] if isinstance(block, dict)]
        return next(block for block in blocks if block.get("tool_use_id") == use)

    def usage(self) -> TokenUsage:
        """All tokens that this API has given out."""
        uncached, cache_writes, output, cache_reads = self._tokens()
        return TokenUsage(uncached + cache_writes, output, cache_reads)

    def cost(self) -> float:
        """The price of all these tokens in US dollars."""
        priced = zip(self._tokens(), _PRICES, strict=True)
        return sum(tokens * price for tokens, price in priced) / 1_000_000

    def _tokens(self) -> tuple[int, int, int, int]:
        usages = [step["usage"] for step in self._given() if "usage" in step]
        names = ("input_tokens", "cache_creation_input_tokens", "output_tokens", "cache_read_input_tokens")
        uncached, cache_writes, output, cache_reads = (sum(usage[name] for usage in usages) for name in names)
        return uncached, cache_writes, output, cache_reads

    def _given(self) -> list[Answer]:
        """The answers given so far."""
        given = []
        for entry in self._entries():
            # for requests without tools, which the script does not answer, the program notes another route
            assert entry["route"] == "main", f"a request without tools: {entry}"
            assert entry["model"] == MODEL, entry["model"]
            number = entry["n"]
            repeated = self.steps[-1].get("repeat") if number >= len(self.steps) else None
            assert number < len(self.steps) or repeated, f"{number + 1} requests, {len(self.steps)} answers"
            given.append(self.steps[min(number, len(self.steps) - 1)])
        return given

    def _entries(self) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [entry for entry in entries if "route" in entry]


@asynccontextmanager
async def scripted_api(log: Path, *steps: Answer) -> AsyncIterator[ScriptedApi]:
    """Answer requests on a free port with these steps, one per request. `log`: a file for the requests."""
    scenario, any_port, keep_bodies = {"routes": {"main": list(steps)}}, 0, True
    server = _load_serve()(scenario, any_port, str(log), keep_bodies, THIS_MACHINE)
    try:
        yield ScriptedApi(server.server_address[1], steps, log)
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        server.RequestHandlerClass.logfile.close()


def _load_serve() -> Callable[..., Any]:
    """The program's function `serve(scenario, port, log, bodies, host)`, which starts a thread."""
    program = Path(os.environ.get("SCRIPTED_API") or skip_or_fail("SCRIPTED_API names no program"))
    spec = importlib.util.spec_from_file_location("scripted_api_program", program)
    assert spec is not None, program
    assert spec.loader is not None, program
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    serve: Callable[..., Any] = module.serve
    return serve
