"""The company's skill library, and the skills that were selected for an agent.

The host puts two keys into the config of a run: `paperclipRuntimeSkills`, the whole library, and
`paperclipSkillSync`, the selection. A selection refers to a skill by key, by runtime name or by the last part
of its key. The host's skills page shows both as a snapshot.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import TypeAlias

from pydantic.alias_generators import to_snake

from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.base.path_lengths import PATH_EXCESS, path_is_too_long
from paperclip_claude_k8s.host.context import JsonMap

OPERATIONAL_SKILL = "paperclipai/paperclip/paperclip"
"""Teaches agents to work with the host. Every agent gets it if the library has it, selected or not."""

MAX_LISTED_SKILLS = 2000
"""Largest number of skills in a company's library, and in an agent's selection: the agent's instructions list
the whole library, which takes some 60 bytes for each skill."""
_LIBRARY, _SELECTION = "paperclipRuntimeSkills", "paperclipSkillSync"
_MAX_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class Skill:
    """One skill of the library."""

    key: str
    runtime_name: str
    """Name of its folder in the agent's `.claude/skills`."""
    source: str
    """Its folder on the host."""
    version_id: str | None = None
    current_version_id: str | None = None
    missing: str | None = None
    """Why the skill cannot be delivered; None if it can."""


@dataclass(frozen=True, slots=True)
class DesiredSkill:
    """A selected skill; `key` is the reference itself, in lower case, if the library has no such skill."""

    key: str
    version_id: str | None = None


SkillLibrary: TypeAlias = tuple[Skill, ...]
DesiredSkills: TypeAlias = tuple[DesiredSkill, ...]


def read_skill_library(config: Mapping[str, object]) -> SkillLibrary:
    """Read `paperclipRuntimeSkills`, without entries that lack a key, a runtime name or a source.

    Entries after the first `MAX_LISTED_SKILLS` are not read; `find_excess_skills` describes them.
    """
    skills = map(_read_skill, _entries_of_library(config)[:MAX_LISTED_SKILLS])
    return tuple({skill.key: skill for skill in skills if skill is not None}.values())


def selected_references(config: Mapping[str, object]) -> Sequence[object]:
    """Return the references of the selection `paperclipSkillSync`, unread."""
    sync = _get_either_spelling(config, _SELECTION)
    desired = _get_either_spelling(sync, "desiredSkills") if isinstance(sync, Mapping) else None
    return desired if isinstance(desired, (list, tuple)) else ()


def find_excess_skills(
    config: Mapping[str, object], selected: Sequence[object] | None = None
) -> Iterator[str]:
    """Describe library and selection, each if it is longer than `MAX_LISTED_SKILLS`, and what to do.

    `selected` replaces the selection of the config.
    """
    limit = MAX_LISTED_SKILLS
    if len(_entries_of_library(config)) > limit:
        yield f"{_LIBRARY} has more than {limit} skills; remove skills from the company's library"
    if len(selected_references(config) if selected is None else selected) > limit:
        yield f"{_SELECTION} has more than {limit} skills; select fewer skills for this agent"


def read_desired_skills(config: Mapping[str, object], library: SkillLibrary) -> DesiredSkills:
    """Read the selection `paperclipSkillSync`: the operational skill, then the others, without duplicates."""
    return resolve_references(selected_references(config), library)


def resolve_references(references: Iterable[object], library: SkillLibrary) -> DesiredSkills:
    """Resolve references, `"key"` or `{key, versionId}`, to skills; of duplicates, the first counts.

    References after the first `MAX_LISTED_SKILLS` are not read; `find_excess_skills` describes them.
    """
    found: dict[str, DesiredSkill] = {}
    keys = _keys_by_name(library)
    for reference in filter(None, map(_read_reference, islice(references, MAX_LISTED_SKILLS))):
        searched = reference.key.lower()
        key = keys.get(searched, searched)
        found.setdefault(key, DesiredSkill(key, reference.version_id))
    if any(skill.key == OPERATIONAL_SKILL for skill in library):
        found.setdefault(OPERATIONAL_SKILL, DesiredSkill(OPERATIONAL_SKILL))
    return tuple(sorted(found.values(), key=lambda skill: skill.key != OPERATIONAL_SKILL))


def snapshot(
    adapter_type: str,
    library: SkillLibrary,
    desired: DesiredSkills,
    foreign: Mapping[str, str] | None = None,
    warnings: Iterable[str] = (),
) -> JsonMap:
    """Return what the host's skills page shows: `{desiredSkills, entries, warnings, ...}`.

    `foreign` maps folder names to paths of skills in the agents' HOME that are not from the library.
    `warnings` come before those about unknown skills.
    """
    selected = {skill.key: skill for skill in desired}
    known = {skill.key for skill in library}
    unknown = [skill for skill in desired if skill.key not in known]
    managed = {*known, *selected, *(skill.runtime_name for skill in library)}
    entries = [
        *(_library_entry(skill, selected.get(skill.key)) for skill in library),
        *map(_unknown_entry, unknown),
        *(_foreign_entry(name, path) for name, path in (foreign or {}).items() if name not in managed),
    ]
    return {
        "adapterType": adapter_type,
        "supported": True,
        "mode": "ephemeral",
        "desiredSkills": [skill.key for skill in desired],
        "desiredSkillEntries": [{"key": skill.key, "versionId": skill.version_id} for skill in desired],
        "entries": sorted(entries, key=lambda entry: str(entry["key"])),
        "warnings": [
            *warnings,
            *(f"Skill {skill.key} is selected but not in the company's library." for skill in unknown),
        ],
    }


def describe_library(library: SkillLibrary, desired: DesiredSkills) -> str | None:
    """Return Markdown that tells the agent which skills it has and which exist; None without a library."""
    if not library:
        return None
    selected = {skill.key for skill in desired}
    lines = [
        f"- `{skill.key}`: {_availability(skill, selected)}"
        for skill in sorted(library, key=attrgetter("key"))
    ]
    return "\n".join(("## Skill library of this company", "", *lines))


def available_skills(library: SkillLibrary, desired: DesiredSkills) -> tuple[Skill, ...]:
    """Return the selected skills that can be delivered, in the order of `desired`."""
    deliverable = {skill.key: skill for skill in library if skill.missing is None}
    return tuple(deliverable[skill.key] for skill in desired if skill.key in deliverable)


def _entries_of_library(config: Mapping[str, object]) -> Sequence[object]:
    given = _get_either_spelling(config, _LIBRARY)
    return given if isinstance(given, (list, tuple)) else ()


def _read_skill(item: object) -> Skill | None:
    given = item if isinstance(item, Mapping) else {}
    name = as_trimmed(given.get("name"))
    key = as_trimmed(given.get("key")) or name
    runtime_name = as_trimmed(_get_either_spelling(given, "runtimeName")) or name
    source = as_trimmed(given.get("source"))
    if key is None or runtime_name is None or source is None:
        return None
    version = as_trimmed(_get_either_spelling(given, "versionId"))
    current = as_trimmed(_get_either_spelling(given, "currentVersionId"))
    return Skill(key, runtime_name, source, version, current, _why_missing(given, source))


def _why_missing(given: Mapping[str, object], source: str) -> str | None:
    if path_is_too_long(source):
        return f"its path {PATH_EXCESS}"
    if _get_either_spelling(given, "sourceStatus") != "missing":
        return None
    return as_trimmed(_get_either_spelling(given, "missingDetail")) or "its folder is missing on the host"


def _read_reference(item: object) -> DesiredSkill | None:
    if isinstance(item, Mapping):
        key = as_trimmed(item.get("key"))
        return None if key is None else DesiredSkill(key, as_trimmed(_get_either_spelling(item, "versionId")))
    name = as_trimmed(item)
    return None if name is None else DesiredSkill(name)


_KINDS_OF_NAMES: tuple[Callable[[Skill], str], ...] = (
    lambda skill: skill.key,
    lambda skill: skill.runtime_name,
    lambda skill: skill.key.rpartition("/")[2],
)


def _keys_by_name(library: SkillLibrary) -> dict[str, str]:
    """Return name in lower case → key of the skill that a reference with this name means.

    A name is a key, a runtime name or the last part of a key. In this order, the first kind of names in which
    exactly one skill has the name decides. A name that several skills have in every kind is left out.
    """
    found: dict[str, str] = {}
    for name_of in reversed(_KINDS_OF_NAMES):  # the kind that decides first is written last
        names = [name_of(skill).lower() for skill in library]
        counts = Counter(names)
        found |= {name: skill.key for name, skill in zip(names, library, strict=True) if counts[name] == 1}
    return found


def _availability(skill: Skill, selected: set[str]) -> str:
    if skill.key not in selected:
        return "installed, not enabled for you"
    if skill.missing is None:
        return "enabled"
    return f"enabled but unavailable ({' '.join(skill.missing.split())[:_MAX_REASON_CHARS]})"


def _library_entry(skill: Skill, selected: DesiredSkill | None) -> JsonMap:
    is_desired = selected is not None
    state = "missing" if skill.missing is not None else "configured" if is_desired else "available"
    return {
        "key": skill.key,
        "runtimeName": skill.runtime_name,
        "versionId": selected.version_id if selected and selected.version_id else skill.version_id,
        "currentVersionId": skill.current_version_id,
        "desired": is_desired,
        "managed": True,
        "state": state,
        "origin": "company_managed",
        "originLabel": "Managed by Paperclip",
        "readOnly": False,
        "sourcePath": skill.source,
        "targetPath": None,
        "detail": skill.missing or ("Delivered with the next run." if is_desired else None),
    }


def _unknown_entry(skill: DesiredSkill) -> JsonMap:
    reason = "The company's library has no such skill."
    known = _library_entry(Skill(skill.key, "", "", skill.version_id, None, reason), skill)
    differing = {"origin": "external_unknown", "originLabel": "Not in the company's library"}
    return {**known, **differing, "runtimeName": None, "sourcePath": None}


def _foreign_entry(name: str, path: str) -> JsonMap:
    return {
        "key": name,
        "runtimeName": name,
        "versionId": None,
        "currentVersionId": None,
        "desired": False,
        "managed": False,
        "state": "external",
        "origin": "user_installed",
        "originLabel": "Not managed by Paperclip",
        "locationLabel": "~/.claude/skills of the agents",
        "readOnly": True,
        "sourcePath": None,
        "targetPath": path,
        "detail": "All agents of this volume have it.",
    }


def _get_either_spelling(given: Mapping[str, object], name: str) -> object:
    """Return the value of a camelCase key, or of its snake_case spelling if that key is absent."""
    return given[name] if name in given else given.get(to_snake(name))
