"""`claude-k8s check`: the environment test, for machines on stdout and for people on stderr."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cli.codes import DONE, FAILED, USAGE
from paperclip_claude_k8s.cli.options import WishInvalid, layered, on_cluster, print_answer
from paperclip_claude_k8s.host.checkup import Check, Checkup

STYLES = {"info": "green", "warn": "yellow", "error": "bold red"}


@dataclass(frozen=True, slots=True)
class Question:
    """The options of one `check`."""

    devcluster: bool = False
    kubeconfig: Path | None = None
    namespace: str | None = None
    image: str | None = None
    config: Path | None = None
    probe: bool = False
    quiet: bool = False


def check(question: Question) -> int:
    """Exit code 0 when runs would work, with or without warnings; 1 when not; 2 the options make no sense."""
    try:
        checkup = asyncio.run(_ask(question))
    except WishInvalid as error:
        return print_answer({"status": "fail", "error": "usage", "detail": str(error)}, USAGE)
    except KeyboardInterrupt:
        return print_answer({"status": "fail", "error": "aborted", "detail": "interrupted"}, FAILED)
    if not question.quiet:
        show(checkup, Console(stderr=True, highlight=False))
    return print_answer(checkup.to_wire(), FAILED if checkup.status == "fail" else DONE)


async def _ask(question: Question) -> Checkup:
    options = {
        "kubeconfig": str(question.kubeconfig) if question.kubeconfig else None,
        "namespace": question.namespace,
        "image": question.image,
    }
    settings = layered(question.config, options)
    async with on_cluster(settings, devcluster=question.devcluster) as config:
        adapter = Adapter()
        try:
            asked: dict[str, Any] = {"config": config, "probe": question.probe}
            return await adapter.test_environment(asked)
        finally:
            await adapter.shutdown()


def show(checkup: Checkup, console: Console) -> None:
    """One row for each check, what needs attention last: there the eye is when the command ends."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for level, style in STYLES.items():
        for one in checkup.checks:
            if one.level == level:
                table.add_row(Text(level, style=style), one.code, _words(one))
    console.print(table)
    console.print(Text(f"environment test: {checkup.status}"))


def _words(one: Check) -> Text:
    text = Text(one.message)
    if one.hint is not None and one.level != "info":
        text.append(f"\n→ {one.hint}", style="dim")
    return text
