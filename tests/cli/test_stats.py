"""`claude-k8s stats` and the costs in `history`."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.dev_cluster_cli import DevClusterCli
from tests.support.objects import a_job

from paperclip_claude_k8s.cli.describe_text import description_text
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.job_end import annotated_result, annotated_verdict
from paperclip_claude_k8s.cli.run_costs import GroupBy, RunCost, as_csv, parse_moment, rows_of
from paperclip_claude_k8s.cli.stats_command import cost_of_job
from paperclip_claude_k8s.cluster.labels import RESULT_ANNOTATION

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def a_run(agent: str = "ada", *, cost: float | None = 1.0, code: str = "", days_ago: int = 0) -> RunCost:
    return RunCost(
        ended=NOW - timedelta(days=days_ago),
        agent=agent,
        model="sonnet",
        code=code,
        cost_usd=cost,
        input_tokens=10,
        output_tokens=5,
        cached_input_tokens=100,
        seconds=2.5,
    )


def test_rows_are_summed_by_agent_and_dearest_first() -> None:
    runs = [a_run("ada"), a_run("bob", cost=5.0), a_run("ada", cost=None, code="timeout")]
    rows = rows_of(runs, GroupBy.AGENT, since=None)
    assert [(row.key, row.runs, row.failed, row.cost_usd) for row in rows] == [
        ("bob", 1, 0, 5.0),
        ("ada", 2, 1, 1.0),
        ("total", 3, 1, 6.0),
    ]
    assert [row.unknown_costs for row in rows] == [0, 1, 1]
    assert (rows[-1].input_tokens, rows[-1].output_tokens, rows[-1].cached_input_tokens) == (30, 15, 300)
    assert rows[-1].seconds == 7.5


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (GroupBy.DAY, ["2026-11-25", "2026-11-27", "total"]),
        (GroupBy.CODE, ["succeeded", "timeout", "total"]),
        (GroupBy.MODEL, ["sonnet", "total"]),
    ],
)
def test_rows_are_grouped(by: GroupBy, keys: list[str]) -> None:
    runs = [a_run(days_ago=2, cost=9.0), a_run(code="timeout")]
    assert [row.key for row in rows_of(runs, by, since=None)] == keys


def test_since_excludes_earlier_runs() -> None:
    since = NOW - timedelta(days=1)
    (row, total) = rows_of([a_run(days_ago=3), a_run()], GroupBy.AGENT, since)
    assert (row.runs, total.runs) == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_since_is_a_span_or_a_time(text: str, expected: datetime) -> None:
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "7", "-3d", "99999999d"])
def test_since_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a span"):
        parse_moment(text, NOW)


def test_csv_has_no_formula_and_no_control_character() -> None:
    hostile = replace(a_run(), model='=HYPERLINK("http://x","\x1b[2J")')
    text = as_csv(rows_of([hostile], GroupBy.MODEL, since=None), GroupBy.MODEL)
    header, row, total = csv.reader(io.StringIO(text))
    assert header[:3] == ["model", "runs", "failed"]
    assert row[0].startswith("'=")
    assert "\x1b" not in row[0]
    assert total[0] == "total"


def test_cost_of_a_result_without_usage_is_unknown() -> None:
    cost = RunCost.of(
        {"errorCode": "k8s_x", "usage": 7, "resultJson": {"phases": {"run": "long"}}}, "a", None
    )
    assert (cost.code, cost.cost_usd, cost.input_tokens, cost.seconds) == ("k8s_x", None, 0, None)


@pytest.mark.parametrize(
    "text", ["[" * 9999, '{"a":' * 1600, '{"usage":{"inputTokens":Infinity}}', '{"costUsd":1e400}', "[1]", ""]
)
def test_job_with_a_malformed_result_annotation_has_no_cost(text: str) -> None:
    cost = cost_of_job(a_job(annotations={RESULT_ANNOTATION: text}))
    assert cost is None or (cost.cost_usd, cost.input_tokens) == (None, 0)


async def test_stats_equal_the_results_of_the_runs(dev: DevClusterCli) -> None:
    results = [(await dev.cli.run(*dev.new_run_args("-q")))[1]["result"] for _ in range(2)]
    code, reply, _ = await dev.cli.run("stats", "--by", "agent")
    assert code == 0
    total = reply["rows"][-1]
    assert total["runs"] == 2
    assert total["cost_usd"] == pytest.approx(sum(result["costUsd"] for result in results))
    assert total["output_tokens"] == sum(result["usage"]["outputTokens"] for result in results)
    code, reply, _ = await dev.cli.run("stats", "--since", "soon")
    assert (code, reply["error"]) == (1, "usage")
    (newest, _) = (await dev.cli.run("history"))[1]["runs"]
    assert newest["cost_usd"] == results[-1]["costUsd"]
    assert newest["prompt"]
    assert newest["duration_sec"] > 0
    assert newest["tokens"] == sum(results[-1]["usage"].values())


@pytest.mark.parametrize("text", ["[" * 9999, '{"costUsd":1%s}' % ("0" * 400), '{"costUsd":true}'])
def test_malformed_result_annotation_raises_no_error_and_shows_no_cost(text: str) -> None:
    job = a_job(annotations={RESULT_ANNOTATION: text})
    annotated = annotated_result(job)
    annotated_verdict(job)
    page = {"run_id": "r", "state": "Failed", "agent": "a", "usage": annotated}
    assert "$" not in description_text(page, NOW, None, Format.TEXT)
