"""The company's skills: which are there, which an agent shall have (HOST.md 6.3, 7.5)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic.alias_generators import to_snake

from paperclip_claude_k8s.base.json_readers import as_label
from paperclip_claude_k8s.host.context import JsonMap

OPERATIONAL_SKILL = "paperclipai/paperclip/paperclip"
"""How to work with the host at all: every agent gets it where the library has it, chosen or not."""

_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class Skill:
    """One skill of the library. `source` is its folder on the host; `missing` says why it is not there."""

    key: str
    runtime_name: str
    source: str
    version_id: str | None = None
    current_version_id: str | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """A skill that was asked for, by its key or by what could be made of it."""

    key: str
    version_id: str | None = None


Library = tuple[Skill, ...]
Wishes = tuple[Wish, ...]


def read_library(config: Mapping[str, object]) -> Library:
    """`paperclipRuntimeSkills`; entries without key, runtime name or source are none."""
    given = _get(config, "paperclipRuntimeSkills")
    found = map(_skill, given) if isinstance(given, (list, tuple)) else ()
    return tuple({skill.key: skill for skill in found if skill is not None}.values())


def read_wishes(config: Mapping[str, object], library: Library) -> Wishes:
    """What `paperclipSkillSync` asks for, after the operational skill; in order, each once."""
    sync = _get(config, "paperclipSkillSync")
    desired = _get(sync, "desiredSkills") if isinstance(sync, Mapping) else None
    return resolve(desired if isinstance(desired, (list, tuple)) else (), library)


def resolve(desired: Iterable[object], library: Library) -> Wishes:
    """References, as `"key"` or `{key, versionId}`, → keys; a reference nobody knows stands for itself."""
    wishes: dict[str, Wish] = {}
    for wish in filter(None, map(_reference, desired)):
        key = _key_of(wish.key, library)
        wishes.setdefault(key, Wish(key, wish.version_id))
    if any(skill.key == OPERATIONAL_SKILL for skill in library):
        wishes.setdefault(OPERATIONAL_SKILL, Wish(OPERATIONAL_SKILL))
    return tuple(sorted(wishes.values(), key=lambda wish: wish.key != OPERATIONAL_SKILL))


def snapshot(
    adapter_type: str, library: Library, wishes: Wishes, foreign: Mapping[str, str] | None = None
) -> JsonMap:
    """What the host's skills page shows. `foreign`: folder name → path of skills that others installed."""
    wanted = {wish.key: wish for wish in wishes}
    known = {skill.key for skill in library}
    unknown = [wish for wish in wishes if wish.key not in known]
    taken = {*known, *wanted, *(skill.runtime_name for skill in library)}
    entries = [
        *(_library_entry(skill, wanted.get(skill.key)) for skill in library),
        *map(_unknown_entry, unknown),
        *(_foreign_entry(name, path) for name, path in (foreign or {}).items() if name not in taken),
    ]
    return {
        "adapterType": adapter_type,
        "supported": True,
        "mode": "ephemeral",
        "desiredSkills": [wish.key for wish in wishes],
        "desiredSkillEntries": [{"key": wish.key, "versionId": wish.version_id} for wish in wishes],
        "entries": sorted(entries, key=lambda entry: str(entry["key"])),
        "warnings": [f"Skill {wish.key} is wanted and not in the company's library." for wish in unknown],
    }


def library_manifest(library: Library, wishes: Wishes) -> str | None:
    """What the agent is told about the library: which skills it has and which it could ask for."""
    if not library:
        return None
    wanted = {wish.key for wish in wishes}
    lines = [f"- `{skill.key}`: {_availability(skill, wanted)}" for skill in sorted(library, key=_by_key)]
    return "\n".join(("## Skill library of this company", "", *lines))


def chosen(library: Library, wishes: Wishes) -> tuple[Skill, ...]:
    """The wanted skills that are there, in the order of the wishes."""
    there = {skill.key: skill for skill in library if skill.missing is None}
    return tuple(there[wish.key] for wish in wishes if wish.key in there)


def _skill(item: object) -> Skill | None:
    given = item if isinstance(item, Mapping) else {}
    name = as_label(given.get("name"))
    key = as_label(given.get("key")) or name
    runtime_name = as_label(_get(given, "runtimeName")) or name
    source = as_label(given.get("source"))
    if key is None or runtime_name is None or source is None:
        return None
    gone = _get(given, "sourceStatus") == "missing"
    why = as_label(_get(given, "missingDetail")) or "its folder is missing on the host"
    version, current = as_label(_get(given, "versionId")), as_label(_get(given, "currentVersionId"))
    return Skill(key, runtime_name, source, version, current, why if gone else None)


def _reference(item: object) -> Wish | None:
    if isinstance(item, Mapping):
        key = as_label(item.get("key"))
        return None if key is None else Wish(key, as_label(_get(item, "versionId")))
    name = as_label(item)
    return None if name is None else Wish(name)


def _key_of(reference: str, library: Library) -> str:
    """By key, else by a runtime name, else by the last part of a key, where only one skill has it."""
    wanted = reference.lower()
    for name_of in (_whole_key, _runtime_name, _last_part):
        matches: Sequence[Skill] = [skill for skill in library if name_of(skill) == wanted]
        if len(matches) == 1:
            return matches[0].key
    return wanted


def _whole_key(skill: Skill) -> str:
    return skill.key.lower()


def _runtime_name(skill: Skill) -> str:
    return skill.runtime_name.lower()


def _last_part(skill: Skill) -> str:
    return skill.key.lower().rpartition("/")[2]


def _by_key(skill: Skill) -> str:
    return skill.key


def _availability(skill: Skill, wanted: set[str]) -> str:
    if skill.key not in wanted:
        return "installed, not enabled for you"
    if skill.missing is None:
        return "enabled"
    return f"enabled but unavailable ({' '.join(skill.missing.split())[:_REASON_CHARS]})"


def _library_entry(skill: Skill, wish: Wish | None) -> JsonMap:
    wanted = wish is not None
    state = "missing" if skill.missing is not None else "configured" if wanted else "available"
    return {
        "key": skill.key,
        "runtimeName": skill.runtime_name,
        "versionId": wish.version_id if wish and wish.version_id else skill.version_id,
        "currentVersionId": skill.current_version_id,
        "desired": wanted,
        "managed": True,
        "state": state,
        "origin": "company_managed",
        "originLabel": "Managed by Paperclip",
        "readOnly": False,
        "sourcePath": skill.source,
        "targetPath": None,
        "detail": skill.missing or ("Put into the prompt bundle of the next run." if wanted else None),
    }


def _unknown_entry(wish: Wish) -> JsonMap:
    return {
        "key": wish.key,
        "runtimeName": None,
        "versionId": wish.version_id,
        "currentVersionId": None,
        "desired": True,
        "managed": True,
        "state": "missing",
        "origin": "external_unknown",
        "originLabel": "Not in the company's library",
        "readOnly": False,
        "sourcePath": None,
        "targetPath": None,
        "detail": "The company's library has no skill of this name.",
    }


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
        "originLabel": "Installed by somebody else",
        "locationLabel": "~/.claude/skills of the agents",
        "readOnly": True,
        "sourcePath": None,
        "targetPath": path,
        "detail": "Every agent of this volume sees it.",
    }


def _get(given: Mapping[str, object], name: str) -> object:
    """By the wire's name, else by Python's."""
    return given[name] if name in given else given.get(to_snake(name))
