"""`claude-k8s run`: one run, from options to a JSON object on stdout."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cli.live import Live, live_view
from paperclip_claude_k8s.host.result import ExecutionResult

FAILED = 1
USAGE = 2


class WishInvalid(Exception):
    """Options that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of one `run`."""

    prompt: str
    devcluster: bool = False
    claude: Path | None = None
    kubeconfig: Path | None = None
    namespace: str | None = None
    image: str | None = None
    model: str | None = None
    agent: str = "cli"
    session: str | None = None
    config: Path | None = None
    quiet: bool = False


def run_to_end(wish: Wish) -> int:
    """Run, print the result, and give the exit code: 0 succeeded, 1 failed, 2 the options make no sense."""
    run_id = str(uuid.uuid4())
    try:
        settings = _settings(wish)
        result = asyncio.run(_run(wish, settings, run_id))
    except WishInvalid as error:
        return _print({"status": "failed", "error": "usage", "detail": str(error)}, USAGE)
    except KeyboardInterrupt:
        told = "the wait was interrupted; a Job on a cluster goes on"
        return _print({"run_id": run_id, "status": "failed", "error": "poll_aborted", "detail": told}, FAILED)
    failed = result.error_message is not None
    status = "failed" if failed else "succeeded"
    return _print({"run_id": run_id, "status": status, "result": result.to_wire()}, FAILED if failed else 0)


def _print(answer: dict[str, Any], code: int) -> int:
    print(json.dumps(answer, indent=2, ensure_ascii=False))  # noqa: T201  # stdout is this one object
    return code


def _settings(wish: Wish) -> dict[str, Any]:
    """The adapter's config: the file's keys, with what the options say on top."""
    given = _config_file(wish.config) if wish.config else {}
    if not wish.prompt.strip():
        raise WishInvalid("--prompt is empty: say what the agent should do")
    if wish.claude and not wish.devcluster:
        raise WishInvalid("--claude only goes with --devcluster: on a cluster the image brings the CLI")
    options = {
        "kubeconfig": str(wish.kubeconfig) if wish.kubeconfig else None,
        "namespace": wish.namespace,
        "image": wish.image,
        "model": wish.model,
    }
    # the prompt goes through a template whose values are not rendered again: braces in it stay as they are
    asked = {"promptTemplate": "{{context.prompt}}"}
    return {**given, **asked, **{key: value for key, value in options.items() if value is not None}}


def _config_file(path: Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WishInvalid(f"--config {path} cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise WishInvalid(f"--config {path} must hold one JSON object")
    return given


async def _run(wish: Wish, settings: dict[str, Any], run_id: str) -> ExecutionResult:
    async with _cluster(wish, settings) as config, live_view(quiet=wish.quiet) as live:
        adapter = Adapter()
        try:
            return await adapter.execute(_context(wish, config, run_id, live))
        finally:
            await adapter.shutdown()


def _context(wish: Wish, config: dict[str, Any], run_id: str, live: Live) -> dict[str, Any]:
    return {
        "runId": run_id,
        "agent": {"id": wish.agent, "name": wish.agent, "companyId": "local"},
        "runtime": {
            "sessionId": wish.session,
            "sessionParams": {"sessionId": wish.session} if wish.session else None,
        },
        "config": config,
        "context": {"prompt": wish.prompt},
        "onLog": live.on_log,
    }


@asynccontextmanager
async def _cluster(wish: Wish, settings: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """The settings, pointed at the embedded cluster where that is wished."""
    if not wish.devcluster:
        yield settings
        return
    from paperclip_claude_k8s.devcluster import DevCluster  # noqa: PLC0415  # a server nobody else needs

    if wish.claude and not wish.claude.exists():
        raise WishInvalid(f"--claude {wish.claude} does not exist")
    async with DevCluster.start(claude=wish.claude) as cluster:
        if sys.stderr.isatty():
            print(f"development cluster: export KUBECONFIG={cluster.kubeconfig}", file=sys.stderr)  # noqa: T201
        yield {
            "image": "devcluster/claude:stand-in",
            **settings,
            "kubeconfig": str(cluster.kubeconfig),
            "namespace": cluster.namespace,
        }
