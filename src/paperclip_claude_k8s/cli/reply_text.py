"""The reply about a run as text: the agent's answer on stdout, how the run ended on stderr."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.terminal_lines import terminal_lines
from paperclip_claude_k8s.cli.agent_output import screen_of
from paperclip_claude_k8s.cli.formats import Format, is_terminal
from paperclip_claude_k8s.cli.run_costs import RunCost
from paperclip_claude_k8s.cli.text_tables import terminal_width


def run_text(reply: Mapping[str, Any], output: Format) -> str:
    """A run's reply as text: the whole answer, rendered on a terminal; with `-o name` the run's id."""
    if output is Format.NAME:
        return str(reply.get("run_id") or "")
    answer = get_text(get_object(dict(reply), "result"), "summary") if reply["status"] == "succeeded" else ""
    if not answer or not is_terminal():
        return answer
    lines = terminal_lines(Item("answer", answer), screen_of(Console(highlight=False), times=False))
    return "\n" + "\n".join(lines)


def print_end(reply: Mapping[str, Any]) -> None:
    """Print on stderr, after the answer, how the run ended, its cost, and the next commands."""
    for line in _end_lines(reply):
        print(neutral(line), file=sys.stderr)  # noqa: T201


def _end_lines(reply: Mapping[str, Any]) -> Iterator[str]:
    run_id, result = reply.get("run_id"), get_object(dict(reply), "result")
    if reply["status"] == "polling" and "error" not in reply:
        yield f"the run goes on in Job {reply.get('job')}, namespace {reply.get('namespace')}"
    if result:
        known = " · ".join(_costs(RunCost.of(result, agent="", ended=None)))
        end = f"{reply['status']}{f' · {known}' if known else ''}"
        whole, width = f"{end} · run {run_id}", terminal_width()
        if run_id and (width is None or len(whole) <= width):
            yield whole
        else:  # the terminal would break the id
            yield end
            yield from [f"  {'run:':<8} {run_id}"] if run_id else []
    for name, label in (("resume", "go on"), ("cancel", "cancel")):
        if name in reply:
            yield f"  {label + ':':<8} {reply[name]}"


def _costs(cost: RunCost) -> Iterator[str]:
    if cost.seconds is not None:
        yield duration_text(cost.seconds)
    if cost.cost_usd is not None:
        yield f"${cost.cost_usd:.4f}"
    if tokens := cost.input_tokens + cost.output_tokens + cost.cached_input_tokens:
        yield f"{tokens:,} tokens"


def duration_text(seconds: float) -> str:
    """A duration in at most two units, such as 4.2s, 3m12s, 5h02m or 6d."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d"
