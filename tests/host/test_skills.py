"""The skill library, the selection, and the snapshot for the host's skills page."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.host.skills import (
    OPERATIONAL_SKILL,
    Skill,
    available_skills,
    describe_library,
    read_desired_skills,
    read_skill_library,
    resolve_references,
    snapshot,
)


def an_entry(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "runtimeName": key.rpartition("/")[2], "source": f"/skills/{key}", **more}


def a_config(*entries: dict[str, Any], desired: list[Any] | None = None) -> dict[str, Any]:
    sync = {} if desired is None else {"paperclipSkillSync": {"desiredSkills": desired}}
    return {"paperclipRuntimeSkills": list(entries), **sync}


def desired_keys(config: dict[str, Any]) -> list[str]:
    return [skill.key for skill in read_desired_skills(config, read_skill_library(config))]


def snapshot_of(config: dict[str, Any], foreign: dict[str, str] | None = None) -> dict[str, Any]:
    """The snapshot for this config. `foreign`: name → folder of each skill that a user installed by hand."""
    library = read_skill_library(config)
    return snapshot("claude_k8s", library, read_desired_skills(config, library), foreign)


def test_skill_references_ignore_case_blanks_and_duplicates() -> None:
    assert desired_keys(a_config(an_entry("a/b/c"), desired=["C", " c ", {"key": "a/b/c"}, "zzz"])) == [
        "a/b/c",
        "zzz",
    ]


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("X/ONE", "x/one"),  # a key, whatever the case
        ("uno", "x/one"),  # a runtime name
        ("three", "y/three"),  # the last part of a key
        ("two", "two"),  # ambiguous: the last part of two keys
        ("Unknown", "unknown"),
    ],
)
def test_skill_reference_becomes_the_key_of_its_skill_or_is_kept_in_lower_case(
    reference: str, key: str
) -> None:
    library = [
        an_entry("x/one", runtimeName="uno"),
        an_entry("x/two", runtimeName="dos"),
        an_entry("y/two", runtimeName="deux"),
        an_entry("y/three", runtimeName="trois"),
    ]
    assert desired_keys(a_config(*library, desired=[reference])) == [key]


NAMES = st.sampled_from(["a", "A", "b", "x/a", "x/A", "y/a", "y/b", "a/b", "", "/", "ß", "SS", "İ"])


def key_by_comparison(reference: str, library: tuple[Skill, ...]) -> str:
    """The key that a reference means, found by comparing it with each skill."""
    searched = reference.lower()
    for kind in range(3):
        names = [(skill.key, skill.runtime_name, skill.key.rpartition("/")[2])[kind] for skill in library]
        matches = [skill for skill, name in zip(library, names, strict=True) if name.lower() == searched]
        if len(matches) == 1:
            return matches[0].key
    return searched


@given(st.lists(st.tuples(NAMES, NAMES), max_size=8), NAMES)
def test_reference_means_the_first_kind_of_names_in_which_one_skill_matches(
    names: list[tuple[str, str]], reference: str
) -> None:
    library = tuple(Skill(key, runtime_name, "/s") for key, runtime_name in names)
    found = [skill.key for skill in resolve_references([reference], library)]
    assert found == ([key_by_comparison(reference, library)] if reference else [])


def test_desired_skills_keep_their_order_and_the_first_duplicate() -> None:
    desired: list[Any] = [
        "b",
        {"key": "a", "versionId": "v1"},
        "b",
        {"key": "a", "versionId": "v2"},
        "",
        None,
    ]
    found = resolve_references(desired, read_skill_library(a_config(an_entry("a"), an_entry("b"))))
    assert [(skill.key, skill.version_id) for skill in found] == [("b", None), ("a", "v1")]


def test_operational_skill_of_the_library_is_always_first() -> None:
    library = [an_entry("a"), an_entry(OPERATIONAL_SKILL)]
    assert desired_keys(a_config(*library)) == [OPERATIONAL_SKILL]
    assert desired_keys(a_config(*library, desired=["a"])) == [OPERATIONAL_SKILL, "a"]
    assert desired_keys(a_config(*library, desired=["a", "paperclip"])) == [OPERATIONAL_SKILL, "a"]
    assert desired_keys(a_config(an_entry("a"), desired=["a"])) == ["a"]


def test_library_entry_without_key_uses_its_name_and_one_without_source_is_dropped() -> None:
    config = a_config({"name": "n", "source": "/s"}, {"key": "k", "runtimeName": "k"}, desired=[])
    assert [(skill.key, skill.runtime_name) for skill in read_skill_library(config)] == [("n", "n")]


def test_skills_are_read_in_snake_case() -> None:
    config = {
        "paperclip_runtime_skills": [
            {
                "key": "k",
                "runtime_name": "r",
                "source": "/s",
                "source_status": "missing",
                "missing_detail": "w",
            }
        ],
        "paperclip_skill_sync": {"desired_skills": [{"key": "r", "version_id": "v"}]},
    }
    (skill,) = read_skill_library(config)
    assert (skill.runtime_name, skill.missing) == ("r", "w")
    assert [(skill.key, skill.version_id) for skill in read_desired_skills(config, (skill,))] == [("k", "v")]


def test_snapshot_shows_the_state_of_each_skill() -> None:
    shown = snapshot_of(
        a_config(
            an_entry("in-use", currentVersionId="v9"),
            an_entry("idle"),
            an_entry("gone", sourceStatus="missing", missingDetail="folder was removed"),
            desired=["in-use", "gone", {"key": "who", "versionId": "v3"}],
        ),
        {"manual": "/paperclip/.claude/skills/manual", "idle": "/paperclip/.claude/skills/idle"},
    )
    assert (shown["adapterType"], shown["supported"], shown["mode"]) == ("claude_k8s", True, "ephemeral")
    entries = {entry["key"]: entry for entry in shown["entries"]}
    assert list(entries) == sorted(entries)
    states = {key: (e["state"], e["desired"], e["managed"], e["origin"]) for key, e in entries.items()}
    assert states == {
        "gone": ("missing", True, True, "company_managed"),
        "idle": ("available", False, True, "company_managed"),
        "in-use": ("configured", True, True, "company_managed"),
        "manual": ("external", False, False, "user_installed"),
        "who": ("missing", True, True, "external_unknown"),
    }
    assert entries["gone"]["detail"] == "folder was removed"
    assert entries["in-use"]["currentVersionId"] == "v9"
    assert entries["manual"]["readOnly"] is True
    assert shown["desiredSkills"] == ["in-use", "gone", "who"]
    assert shown["desiredSkillEntries"][2] == {"key": "who", "versionId": "v3"}
    assert shown["warnings"] == ["Skill who is selected but not in the company's library."]


def test_available_skills_are_desired_known_and_not_missing() -> None:
    config = a_config(
        an_entry("a"), an_entry("b", sourceStatus="missing"), an_entry("c"), desired=["c", "b", "a", "zzz"]
    )
    library = read_skill_library(config)
    assert [skill.key for skill in available_skills(library, read_desired_skills(config, library))] == [
        "c",
        "a",
    ]


def test_describe_library_lists_every_skill_once() -> None:
    config = a_config(
        an_entry("b"),
        an_entry("a"),
        an_entry("c", sourceStatus="missing", missingDetail="line one\nline two " + "x" * 300),
        desired=["b", "c"],
    )
    library = read_skill_library(config)
    text = describe_library(library, read_desired_skills(config, library))
    assert text is not None
    heading, blank, *lines = text.splitlines()
    assert heading.startswith("## ")
    assert not blank
    assert lines[0] == "- `a`: installed, not enabled for you"
    assert lines[1] == "- `b`: enabled"
    assert lines[2].startswith("- `c`: enabled but unavailable (line one line two x")
    assert len(lines[2]) < 260  # the detail, of more than 300 characters, is cut
    assert describe_library((), ()) is None


@given(
    st.fixed_dictionaries(
        {
            "paperclipRuntimeSkills": ANY_JSON
            | st.lists(
                st.fixed_dictionaries(
                    {"key": st.text(max_size=3), "runtimeName": st.text(max_size=3), "source": st.just("/s")}
                )
            ),
            "paperclipSkillSync": ANY_JSON
            | st.fixed_dictionaries({"desiredSkills": st.lists(st.text(max_size=3) | ANY_JSON)}),
        }
    )
)
def test_snapshot_of_any_config_has_each_key_once(config: dict[str, Any]) -> None:
    shown = snapshot_of(config)
    listed = [entry["key"] for entry in shown["entries"]]
    assert len(set(listed)) == len(listed)
    assert set(shown["desiredSkills"]) == {entry["key"] for entry in shown["entries"] if entry["desired"]}
