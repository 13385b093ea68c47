"""`claude-k8s check`: the environment test, as JSON on stdout and as a table on stderr."""

import asyncio
import os
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cli.command_options import CheckOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, USAGE, print_reply
from paperclip_claude_k8s.cli.formats import is_terminal
from paperclip_claude_k8s.cli.grants import grants, with_grants
from paperclip_claude_k8s.cli.kubeconfig_choice import (
    check_cluster_options,
    check_namespace_and_image,
    chosen_kubeconfig,
)
from paperclip_claude_k8s.cli.options import OptionsInvalid, merge_config, on_cluster
from paperclip_claude_k8s.cli.text_tables import drawn
from paperclip_claude_k8s.host.checkup import Check, Checkup
from paperclip_claude_k8s.ports import ProcessSettings

STYLES = {"info": "green", "warn": "yellow", "error": "bold red"}
"""Level of a check → style of its row. Rows are sorted by level in this order."""


def check(options: CheckOptions) -> int:
    """Print the result of the environment test.

    Exit code 0: runs would work, maybe with warnings. 1: runs would fail. 2: the options are invalid.
    """
    try:
        checkup = asyncio.run(_test_environment(options))
    except OptionsInvalid as error:
        reply = {"status": "fail", "error": "usage", "detail": str(error)}
        return print_reply(reply, USAGE, options.output_format)
    if not options.quiet and options.output_format is None and not is_terminal():
        # stdout gets JSON, without the table
        show(checkup, Console(stderr=True, highlight=False))
    code = FAILED if checkup.status == "fail" else DONE
    draw = partial(show, checkup)
    return print_reply(checkup.to_wire(), code, options.output_format, lambda _: drawn(draw))


async def _test_environment(options: CheckOptions) -> Checkup:
    check_namespace_and_image(options.namespace, options.image, devcluster=options.devcluster)
    chosen = chosen_kubeconfig(options.kubeconfig, options.config, devcluster=options.devcluster)
    overrides = {
        "kubeconfig": chosen,
        "kubeContext": options.context,
        "namespace": options.namespace,
        "image": options.image,
    }
    settings = merge_config(options.config, overrides)
    check_cluster_options(
        settings.get("kubeconfig"),
        options.context,
        devcluster=options.devcluster,
        typed=options.kubeconfig_from_option,
    )
    async with on_cluster(settings, devcluster=options.devcluster) as config:
        granted = grants(
            chosen or (config["kubeconfig"] if options.devcluster else None), options.config, options.context
        )
        adapter = Adapter(with_grants(ProcessSettings.read(os.environ), granted))
        try:
            context: dict[str, Any] = {"config": config, "probe": options.probe}
            return await adapter.test_environment(context)
        finally:
            await adapter.shutdown()


def show(checkup: Checkup, console: Console) -> None:
    """Print one row per check. The most severe checks come last, next to the prompt of the shell."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for level, style in STYLES.items():
        for result in checkup.checks:
            if result.level == level:
                table.add_row(Text(level, style=style), Text(result.code), _message(result))
    console.print(table)
    console.print(Text(f"environment test: {checkup.status}"))


def _message(result: Check) -> Text:
    text = Text(neutral(result.message))
    if result.hint is not None and result.level != "info":
        text.append(f"\n→ {neutral(result.hint)}", style="dim")
    return text
