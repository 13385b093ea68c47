"""A template that repeats values of the context takes neither much memory nor much time."""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.in_memory_runs import GOOD, assert_whole, count_jobs, one_host

from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.templates import MAX_RENDERED_CHARS, RenderedTooLong, render_template

MEGABYTE = "y " * 500_000


class Counted:
    """A value that counts how often it becomes text."""

    def __init__(self) -> None:
        self.count = 0

    def __str__(self) -> str:
        self.count += 1
        return "counted"


def test_each_value_becomes_text_once() -> None:
    plain, in_list = Counted(), Counted()
    values = {"a": plain, "b": [in_list]}
    assert render_template("{{a}}{{ b }}" * 1000, values) == 'counted["counted"]' * 1000
    assert (plain.count, in_list.count) == (1, 1)


@pytest.mark.parametrize(
    "template", ["{{x}}" * 20_000, "{{x}} and {{deep.x}} " * 20_000, "{{deep}}" * 20_000]
)
def test_too_long_text_is_refused_before_it_is_made(template: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RenderedTooLong):
            render_template(template, {"x": MEGABYTE, "deep": {"x": MEGABYTE}})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MAX_RENDERED_CHARS  # 20 GB without a limit


def test_text_of_exactly_the_longest_length_is_rendered() -> None:
    half = "x" * (MAX_RENDERED_CHARS // 2)
    assert len(render_template("{{half}}{{half}}", {"half": half})) == MAX_RENDERED_CHARS
    with pytest.raises(RenderedTooLong):
        render_template("{{half}} {{half}}", {"half": half})


def test_many_placeholders_of_a_long_list_take_little_time() -> None:
    began = time.thread_time()
    with pytest.raises(RenderedTooLong):
        render_template("{{x}}" * 200_000, {"x": [1] * 20_000})
    assert time.thread_time() - began < 3  # 0.1 s on an idle machine; the first version took minutes


@given(st.lists(st.sampled_from(["a", "b.c", "b", "none"])), st.text(), st.text())
def test_rendered_text_is_that_of_each_placeholder_alone(paths: list[str], between: str, value: str) -> None:
    values = {"a": value, "b": {"c": [value]}}
    between = between.replace("{", "").replace("}", "")
    template = between.join(f"{{{{{path}}}}}" for path in paths)
    assert render_template(template, values) == between.join(
        render_template(f"{{{{{path}}}}}", values) for path in paths
    )


@pytest.mark.looptime
@pytest.mark.parametrize("key", ["promptTemplate", "bootstrapPromptTemplate"])
@pytest.mark.parametrize("value", [MEGABYTE, [1] * 100_000], ids=["text", "list"])
async def test_run_with_a_template_that_becomes_too_long_fails(key: str, value: Any, tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, _ = await run(config={key: "{{context.x}}" * 20_000}, context={"x": value})
        assert result.error_code == "k8s_prompt_too_large"
        assert f"{key} with its values in place has more than 16777216" in (result.error_message or "")
        assert count_jobs(fake) == 0
        short, host_log = await run(config={key: "{{context.x}}"}, context={"x": value[:1000]})
        assert_whole(short, host_log)


@pytest.mark.looptime
@pytest.mark.parametrize("key", ["promptTemplate", "conversationTemplate"])
async def test_run_with_a_template_of_the_host_that_becomes_too_long_fails(key: str, tmp_path: Path) -> None:
    texts = {key: "{{context.x}}" * 20_000}
    context: JsonMap = {"x": MEGABYTE, "paperclipHostTexts": texts}
    async with one_host(tmp_path, GOOD) as (_, run):
        result, _ = await run(context={**context, "conversationMode": key == "conversationTemplate"})
        assert result.error_code == "k8s_prompt_too_large"
