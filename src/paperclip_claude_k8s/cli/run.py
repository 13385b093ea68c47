"""`claude-k8s run`: one run, from options to a JSON object on stdout."""

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cli.live import Live, live_view
from paperclip_claude_k8s.cli.options import (
    FAILED,
    USAGE,
    WishInvalid,
    existing,
    layered,
    on_cluster,
    print_answer,
)
from paperclip_claude_k8s.host.result import ExecutionResult


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
        return print_answer({"status": "failed", "error": "usage", "detail": str(error)}, USAGE)
    except KeyboardInterrupt:
        told = "the wait was interrupted; a Job on a cluster goes on"
        return print_answer(
            {"run_id": run_id, "status": "failed", "error": "poll_aborted", "detail": told}, FAILED
        )
    failed = result.error_message is not None
    status = "failed" if failed else "succeeded"
    return print_answer(
        {"run_id": run_id, "status": status, "result": result.to_wire()}, FAILED if failed else 0
    )


def _settings(wish: Wish) -> dict[str, Any]:
    """The adapter's config: the file's keys, with what the options say on top."""
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
    return layered(wish.config, {**asked, **options})


async def _run(wish: Wish, settings: dict[str, Any], run_id: str) -> ExecutionResult:
    cluster = on_cluster(settings, devcluster=wish.devcluster, claude=existing(wish.claude))
    async with cluster as config, live_view(quiet=wish.quiet) as live:
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
