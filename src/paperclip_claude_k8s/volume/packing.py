"""Instructions and skills, gathered on the host and put where the agent's Pod finds them (SPEC 2.4, 6)."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.host.skills import (
    DesiredSkills,
    Skill,
    SkillLibrary,
    available_skills,
    library_manifest,
    read_desired_skills,
    read_skill_library,
)
from paperclip_claude_k8s.plan.bundle import (
    Bundle,
    BundleFile,
    BundleFolder,
    Files,
    Packed,
    PathRefused,
    assemble,
    bundle_folder,
    content_key,
    packed_in_secret,
    packed_on_volume,
    skill_files,
)
from paperclip_claude_k8s.plan.paths import to_pod_path
from paperclip_claude_k8s.volume.safefs import (
    Budget,
    descended,
    made_folder,
    on_volume,
    opened,
    read_file,
    read_tree,
    remove_tree,
    sweep,
    write_tree,
)

_ROUNDS = 3
"""How often a folder that others write to at the same time is tried."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `pack` needs to know: the raw config, for the host's skills in it, and where things are.

    `volume` is the shared volume's mount point in this process's own file system; None where there is none,
    or where the Pod has none. `instructions` is an absolute path on the host.
    """

    config: Mapping[str, object] = field(repr=False)
    instructions: str | None
    company: str | None
    env: Mapping[str, str] = field(repr=False)
    volume: str | None
    limits: Limits = field(default_factory=Limits)


async def pack(wanted: Wanted) -> Packed:
    """Gather the bundle and put it on the shared volume; in a thread, since that may be a slow network's.

    What cannot be read or written is left out and noted. Equal bundles are written once; one whose content
    is no longer what its name says, because an agent changed it, is replaced.

    Raises:
        PathRefused: the company's or the instance's id cannot be the name of a folder.
    """
    return await asyncio.to_thread(_pack, wanted)


def _pack(wanted: Wanted) -> Packed:
    bundles = None if wanted.volume is None else bundle_folder(wanted.env, wanted.company, wanted.volume)
    gathered = _gather(wanted)
    if bundles is None:
        return _without_volume(gathered, "no shared volume is mounted both here and in the agent's Pod")
    bundle = gathered.bundle
    if not bundle.files:
        return Packed(notes=tuple(gathered.notes))
    try:
        _put(bundles, bundle)
    except OSError as error:
        return _without_volume(gathered, f"the shared volume refused the prompt bundle: {_words(error)}")
    return packed_on_volume(bundle, bundles, tuple(gathered.notes))


@dataclass(slots=True)
class _Gathered:
    """What was read; `notes` says what was not."""

    instructions: str | None
    manifest: str | None
    skills: dict[str, BundleFile]
    read_from: str | None
    notes: list[str]

    @property
    def bundle(self) -> Bundle:
        return assemble(self.instructions, self.manifest, self.skills, self.read_from)


def _without_volume(gathered: _Gathered, why: str) -> Packed:
    lost = [f"Skills are not delivered: {why}"] if gathered.skills else []
    return packed_in_secret(gathered.instructions, (*gathered.notes, *lost))


def _gather(wanted: Wanted) -> _Gathered:
    notes: list[str] = []
    text = _instructions(wanted, notes)
    library = read_skill_library(wanted.config)
    desired = read_desired_skills(wanted.config, library)
    skills, refused = _skills(available_skills(library, desired), wanted, notes)
    library = tuple(replace(skill, missing=refused.get(skill.key, skill.missing)) for skill in library)
    notes += _left_out(library, desired)
    path = wanted.instructions
    read_from = to_pod_path(path, wanted.volume) if path and wanted.volume else None
    return _Gathered(text, library_manifest(library, desired), skills, read_from, notes)


def _left_out(library: SkillLibrary, desired: DesiredSkills) -> list[str]:
    reasons = {skill.key: skill.missing for skill in library}
    why = ((skill.key, reasons.get(skill.key, "the library has none of that name")) for skill in desired)
    return [f"Skill {key} is left out: {reason}" for key, reason in why if reason is not None]


def _skills(
    skills: tuple[Skill, ...], wanted: Wanted, notes: list[str]
) -> tuple[dict[str, BundleFile], dict[str, str]]:
    """All their files, and by key why a skill has none: half of one would mislead."""
    files: dict[str, BundleFile] = {}
    refused: dict[str, str] = {}
    names: set[str] = set()
    budget = Budget(wanted.limits.bundle_bytes, wanted.limits.bundle_entries)
    for skill in skills:
        own = replace(budget, skipped=[])
        try:
            found = _skill(skill, wanted.volume, own, names)
        except (OSError, ValueError) as error:
            refused[skill.key] = _words(error)
            continue
        names.add(skill.runtime_name)
        budget = own
        files.update(found)
        if own.skipped:
            shown = ", ".join(own.skipped[:3])
            notes.append(f"Skill {skill.key}: {len(own.skipped)} links or special files left out ({shown})")
    return files, refused


def _skill(skill: Skill, volume: str | None, budget: Budget, names: set[str]) -> Files:
    if not PurePosixPath(skill.source).is_absolute():
        raise PathRefused(f"its folder {skill.source[:80]!r} is no absolute path")
    if skill.runtime_name in names:
        raise PathRefused(f"another skill is called {skill.runtime_name} too")
    with opened(skill.source, volume) as folder:
        return skill_files(skill.runtime_name, read_tree(folder, budget))


def _instructions(wanted: Wanted, notes: list[str]) -> str | None:
    """The text of the instructions; None and a note where it cannot be read."""
    path = wanted.instructions
    if path is None:
        return None
    try:
        if not PurePosixPath(path).is_absolute():
            raise PathRefused("it is no absolute path")
        return read_file(path, wanted.volume, wanted.limits.instructions_bytes).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        notes.append(f"Instructions file {path} could not be read: {_words(error)}")
        return None


def _put(bundles: BundleFolder, bundle: Bundle) -> None:
    """Write the bundle unless it is there already, unchanged. Raises `OSError`."""
    with on_volume(bundles.volume) as volume, made_folder(volume, *bundles.path.split("/")) as cache:
        for _ in range(_ROUNDS):
            if _is_there(cache, bundle):
                return
            with suppress(FileExistsError):
                write_tree(cache, bundle.key, bundle.files)
                sweep(cache, bundle.key)
                return
            if not _is_there(cache, bundle):
                remove_tree(cache, bundle.key)
    raise OSError(f"others keep changing {bundles.path}/{bundle.key}")


def _is_there(cache: int, bundle: Bundle) -> bool:
    """Whether the folder of that name holds exactly these files."""
    exact = Budget(sum(len(file.content) for file in bundle.files.values()), 4 * len(bundle.files) + 8)
    try:
        with descended(cache, bundle.key) as folder:
            return content_key(read_tree(folder, exact)) == bundle.key and not exact.skipped
    except OSError:
        return False


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
