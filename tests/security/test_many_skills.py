"""A long library and a long selection of skills take little time, in a run and on the skills page."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, assert_whole, count_jobs, one_host

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.host.skills import MAX_LISTED_SKILLS, read_skill_library, resolve_references
from paperclip_claude_k8s.ports import ProcessSettings


def many_skills(listed: int, selected: int) -> dict[str, Any]:
    """A config in which no selected skill is in the library."""
    return {
        "paperclipRuntimeSkills": [
            {"name": f"s{number}", "source": "/paperclip"} for number in range(listed)
        ],
        "paperclipSkillSync": {"desiredSkills": [f"x{number}" for number in range(selected)]},
    }


class CountedName(str):
    """A name that counts how often names are converted to lower case."""

    __slots__ = ()
    conversions = count()

    def lower(self) -> str:
        next(self.conversions)
        return super().lower()


def test_each_name_is_converted_once_for_all_references() -> None:
    library = read_skill_library(many_skills(1000, 0))
    counted = [
        type(skill)(CountedName(skill.key), CountedName(skill.runtime_name), skill.source)
        for skill in library
    ]
    assert len(resolve_references([f"x{number}" for number in range(1000)], tuple(counted))) == 1000
    assert next(CountedName.conversions) <= 3 * len(counted)  # 2,000,000 in the first version


def test_longest_library_and_selection_are_resolved_in_little_time() -> None:
    library = read_skill_library(many_skills(MAX_LISTED_SKILLS, 0))
    references = [f"x{number}" for number in range(MAX_LISTED_SKILLS)]
    began = time.thread_time()
    assert len(resolve_references(references, library)) == len(references)
    assert time.thread_time() - began < 1  # 0.01 s on an idle machine; the first version took 3 s


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("listed", "selected", "key"),
    [(2001, 0, "paperclipRuntimeSkills"), (0, 2001, "paperclipSkillSync")],
)
async def test_run_with_too_many_skills_fails(listed: int, selected: int, key: str, tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, _ = await run(config=many_skills(listed, selected))
        assert result.error_code == "k8s_config_invalid"
        assert f"config.{key} has more than 2000 skills" in (result.error_message or "")
        assert count_jobs(fake) == 0


@pytest.mark.looptime
async def test_run_with_as_many_skills_as_allowed_succeeds(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        began = time.thread_time()
        result, host_log = await run(config=many_skills(2000, 2000))
        assert time.thread_time() - began < 8  # 0.7 s on an idle machine; the first version took 6 s more
        assert_whole(result, host_log)
        assert "Skill x1999 is left out" in host_log.status


async def test_skills_page_shows_the_first_skills_and_says_that_runs_fail() -> None:
    shown = await Adapter(ProcessSettings()).list_skills({"config": many_skills(6000, 6000)})
    assert len(shown["desiredSkills"]) == 2000
    assert len(shown["entries"]) == 4000
    end = "Only the first 2000 are shown, and runs fail."
    assert shown["warnings"][:2] == [
        f"paperclipRuntimeSkills has more than 2000 skills; remove skills from the company's library. {end}",
        f"paperclipSkillSync has more than 2000 skills; select fewer skills for this agent. {end}",
    ]


async def test_skills_page_of_a_new_selection_reads_as_many_references_as_are_shown() -> None:
    def endless() -> Iterator[str]:
        yield from (f"x{number}" for number in count())

    ctx = {"config": many_skills(1, 6000)}
    shown = await Adapter(ProcessSettings()).sync_skills(ctx, endless())
    assert (len(shown["desiredSkills"]), len(shown["entries"])) == (2000, 2001)
    assert len([text for text in shown["warnings"] if "more than 2000 skills" in text]) == 1
    shown = await Adapter(ProcessSettings()).sync_skills(ctx, ["x1"])
    assert not [text for text in shown["warnings"] if "more than" in text]
