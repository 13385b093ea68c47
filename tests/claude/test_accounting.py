"""Tokens and cost of one run, from the results that each version of the Claude CLI prints."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.claude.accounting import RunUsage, TokenUsage, UsageTracker

STARTS_AT_ZERO, CUMULATIVE, SINCE_LAST_RESULT = "2.1.197", "2.1.300", "2.1.332"
"""Versions of the CLI. The first counts totals from 0 in each process, the others over all runs of a session;
the third also reports the usage since its last result.
"""


def per_model(tokens: int, cost: float) -> dict[str, Any]:
    """`tokens` of each kind, split over two models."""
    kinds = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    return {
        "big": dict.fromkeys(kinds, tokens - tokens // 2) | {"costUSD": cost * 0.75},
        "small": dict.fromkeys(kinds, tokens // 2) | {"costUSD": cost * 0.25},
        "odd": "not an object",
    }


def result(turn: int, total: int, cost: float, since: dict[str, Any] | None = None) -> dict[str, Any]:
    """A result with `turn` tokens of each kind in `usage` and `total` tokens of each kind in `modelUsage`."""
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    event_fields = {"type": "result", "usage": dict.fromkeys(names, turn), "total_cost_usd": cost}
    event_fields["modelUsage"] = per_model(total, cost)
    return event_fields if since is None else event_fields | {"model_usage_since_last_result": since}


def usage_of_run(version: str, *results: dict[str, Any], resumed: bool | None) -> RunUsage:
    tracker = UsageTracker()
    tracker.take_version({"claude_code_version": version})
    for number, event in enumerate(results):
        tracker.add_result(event | {"uuid": f"{number}"})
    return tracker.reported.for_run(resumed=resumed)


def tokens(each: int) -> TokenUsage:
    """The usage for `each` tokens of each kind. Input tokens include cache writes."""
    return TokenUsage(2 * each, each, each)


@pytest.mark.parametrize("resumed", [True, False, None])
def test_totals_of_an_old_version_start_at_zero(resumed: bool | None) -> None:  # noqa: FBT001
    usage = usage_of_run(STARTS_AT_ZERO, result(5, 9, 0.1), result(5, 20, 0.3), resumed=resumed)
    assert usage == RunUsage(tokens(20), 0.3)


@pytest.mark.parametrize("version", [CUMULATIVE, "2.1.285", "2.1.271", "2.2.0", "3.0.1"])
@pytest.mark.parametrize("resumed", [True, None])
def test_totals_with_an_unknown_start_give_tokens_of_the_turns_and_no_cost(
    version: str,
    resumed: bool | None,  # noqa: FBT001
) -> None:
    usage = usage_of_run(version, result(5, 100, 1.0), result(7, 120, 1.2), resumed=resumed)
    assert (usage.usage, usage.cost_usd) == (tokens(12), None)
    assert version in str(usage.warning)
    assert "unknown" in str(usage.warning)


def test_totals_of_a_new_session_start_at_zero_in_every_version() -> None:
    assert usage_of_run(CUMULATIVE, result(5, 9, 0.1), resumed=False) == RunUsage(tokens(9), 0.1)
    assert usage_of_run("", result(5, 9, 0.1), resumed=False) == RunUsage(tokens(9), 0.1)


def test_totals_equal_to_the_sum_of_the_turns_are_totals_of_the_run() -> None:
    assert usage_of_run(CUMULATIVE, result(5, 5, 0.1), resumed=True) == RunUsage(tokens(5), 0.1)


def test_usage_since_the_last_result_is_summed() -> None:
    """The first total contains 90 tokens and 0.9 dollars of earlier runs."""
    first = result(5, 100, 1.0, per_model(10, 0.1))
    idle = result(0, 100, 1.0, {})
    second = result(7, 130, 1.3, per_model(30, 0.3))
    for resumed in (True, False, None):
        usage = usage_of_run(SINCE_LAST_RESULT, first, idle, second, resumed=resumed)
        assert usage.usage == tokens(40)
        assert usage.cost_usd == pytest.approx(0.4)
        assert usage.warning is None


def test_duplicate_result_counts_once() -> None:
    tracker = UsageTracker()
    event = result(5, 9, 0.1, per_model(9, 0.1)) | {"uuid": "u"}
    tracker.add_result(event)
    tracker.add_result(event)
    usage = tracker.reported.for_run(resumed=None)
    assert usage.usage == tokens(9)
    assert usage.cost_usd == pytest.approx(0.1)


def test_run_without_a_result_has_unknown_usage() -> None:
    assert usage_of_run(SINCE_LAST_RESULT, resumed=True) == RunUsage()


def test_total_cost_of_a_result_that_is_not_in_the_log_is_used() -> None:
    """The relay noted the total cost of a result that the log does not contain."""
    tracker = UsageTracker()
    tracker.take_version({"claude_code_version": SINCE_LAST_RESULT})
    without_results = tracker.reported.with_lost_result(0.5)
    assert without_results.for_run(resumed=False).cost_usd == 0.5
    assert without_results.for_run(resumed=True).cost_usd is None
    assert without_results.for_run(resumed=True).warning
    tracker.add_result(result(5, 100, 1.0, per_model(10, 0.1)))
    assert tracker.reported.with_lost_result(1.25).for_run(resumed=True).cost_usd == pytest.approx(0.35)
    assert tracker.reported.with_lost_result(None) == tracker.reported


RUNS = st.lists(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=4), max_size=5
)


@given(RUNS, st.sampled_from((STARTS_AT_ZERO, CUMULATIVE, SINCE_LAST_RESULT)))
def test_sum_of_known_costs_never_exceeds_the_cost_of_the_session(
    runs: list[list[tuple[int, int]]], version: str
) -> None:
    """Each run but the first resumes the session.

    A turn has tokens of the main loop and of a sub-agent; each token costs 1 dollar.
    """
    of_session, known = 0, 0.0  # tokens, and thus dollars, of all runs; the sum of the costs that are known
    for number, turns in enumerate(runs):
        begin = 0 if version == STARTS_AT_ZERO else of_session
        used, results = 0, []
        for main, sub_agent in turns:
            used += main + sub_agent
            since = per_model(main + sub_agent, main + sub_agent) if version == SINCE_LAST_RESULT else None
            results.append(result(main, begin + used, begin + used, since))
        usage = usage_of_run(version, *results, resumed=number > 0)
        assert usage.usage is not None
        assert usage.usage.output_tokens <= used
        if usage.cost_usd is not None:
            assert usage.cost_usd == pytest.approx(used)
        known += usage.cost_usd or 0.0
        of_session += used
    assert known <= of_session + 1e-6
