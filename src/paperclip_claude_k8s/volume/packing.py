"""Packs the instructions and skills that this process can read, for the agent's Pod.

The packed files form a bundle, a folder on the shared volume whose name is derived from its content. Runs
with equal bundles share one folder. Agents can write to that volume, so the content of an existing bundle is
compared with the bundle's name before it is used again. If an agent prevents the write, or owns a folder
above the bundles and could therefore replace a bundle before it is read, the bundle is written to another
folder of the volume. Without a shared volume, instructions and skills go into Secrets.
"""

import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.base.settings import Limits, Timings
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.host.skills import (
    DesiredSkills,
    Skill,
    SkillLibrary,
    available_skills,
    describe_library,
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
from paperclip_claude_k8s.volume.removal import names_in, remove_abandoned, remove_tree
from paperclip_claude_k8s.volume.safefs import (
    Budget,
    make_folders,
    open_at,
    open_path,
    open_volume,
    our_uids,
    read_file,
    read_tree,
    write_tree,
)

OWN_HOME = re.compile(r"\.paperclip-[0-9a-f]{8}")
"""Name of a top folder of the volume that belongs to this host. It is used in place of the home that
`bundle_folder` names, if that home or a folder in it belongs to another user."""
_MAX_OWN_HOMES = 10
"""Largest number of existing folders with such a name that are tried."""
_WRITE_ATTEMPTS = 3
"""Attempts to write a bundle that other processes write or change at the same time."""


@dataclass(frozen=True, slots=True)
class PackInputs:
    """The input of `pack`: the raw config, which contains the library of skills, and paths.

    `volume` is the shared volume's mount point in this process's own file system; None if it is not mounted
    here or not in the Pod. `instructions` is a path in that file system.
    """

    config: Mapping[str, object] = field(repr=False)
    instructions: str | None
    company: str | None
    env: Mapping[str, str] = field(repr=False)
    volume: str | None
    limits: Limits = field(default_factory=Limits)
    instruction_rule: FolderRule = field(default_factory=FolderRule)
    """Where the policy allows instructions."""
    skill_rule: FolderRule = field(default_factory=FolderRule)
    """Where the policy allows skills."""
    seconds: float = Timings().volume_files
    """Longest time that a call of this module may take."""


async def pack(inputs: PackInputs) -> Packed:
    """Collect the bundle and write it to the shared volume, in a thread because the volume may be slow.

    Files that cannot be read or written are left out and noted. An equal bundle that exists already is used;
    a bundle that an agent has changed is replaced.

    Raises:
        PathRefused: the company's or the instance's id cannot be the name of a folder.
        RunFailure: `k8s_policy_refused`, if links lead to instructions or a skill that the policy refuses.
        TimeoutError: packing takes more than `PackInputs.seconds`.
    """
    place = place_of(inputs.volume or inputs.instructions or "/")
    return await call_in_thread(partial(_pack, inputs), inputs.seconds, place)


def _pack(inputs: PackInputs) -> Packed:
    bundles = None if inputs.volume is None else bundle_folder(inputs.env, inputs.company, inputs.volume)
    collected = _collect(inputs)
    bundle = collected.bundle
    if bundles is None or not bundle.files:
        return packed_in_secret(bundle, tuple(collected.notes))
    try:
        return _packed_somewhere(bundles, bundle, collected.notes)
    except OSError as error:
        note = f"The shared volume refused instructions and skills, which go by Secrets: {_reason(error)}"
        return packed_in_secret(bundle, (*collected.notes, note))


def _packed_somewhere(bundles: BundleFolder, bundle: Bundle, notes: list[str]) -> Packed:
    """Write the bundle into its folder, if that is ours; else into a folder of our own.

    If that fails too, write it into its folder, whoever owns the folder. The relay verifies the files that
    the agent gets, so another owner can at most prevent a start.

    Raises `OSError`.
    """
    try:
        _write_bundle(bundles, bundle)
        return packed_on_volume(bundle, bundles, tuple(notes))
    except OSError as error:
        first_error = error
    for folder in _own_bundle_folders(bundles):
        with suppress(OSError):
            _write_bundle(folder, bundle)
            note = f"Instructions and skills are in {folder.path}: {_reason(first_error)}"
            return packed_on_volume(bundle, folder, (*notes, note))
    _write_bundle(bundles, bundle, only_ours=False)
    return packed_on_volume(bundle, bundles, tuple(notes))


@dataclass(slots=True)
class _Collected:
    """The files that were read; `notes` says why others could not be read."""

    instructions: str | None
    skill_list: str | None
    skills: dict[str, BundleFile]
    read_from: str | None
    """Path of the instructions file in the Pod; None if the Pod does not have the file."""
    notes: list[str]

    @property
    def bundle(self) -> Bundle:
        return assemble(self.instructions, self.skill_list, self.skills, self.read_from)


def _collect(inputs: PackInputs) -> _Collected:
    notes: list[str] = []
    text = _read_instructions(inputs, notes)
    library = read_skill_library(inputs.config)
    desired = read_desired_skills(inputs.config, library)
    skills, refused = _read_skills(available_skills(library, desired), inputs, notes)
    library = tuple(replace(skill, missing=refused.get(skill.key, skill.missing)) for skill in library)
    notes += _notes_of_missing(library, desired)
    path = inputs.instructions
    read_from = to_pod_path(path, inputs.volume) if path and inputs.volume else None
    return _Collected(text, describe_library(library, desired), skills, read_from, notes)


def _notes_of_missing(library: SkillLibrary, desired: DesiredSkills) -> list[str]:
    reasons = {skill.key: skill.missing for skill in library}
    why = ((skill.key, reasons.get(skill.key, "it is not in the library")) for skill in desired)
    return [f"Skill {key} is left out: {reason}" for key, reason in why if reason is not None]


def _read_skills(
    skills: tuple[Skill, ...], inputs: PackInputs, notes: list[str]
) -> tuple[dict[str, BundleFile], dict[str, str]]:
    """The files of all skills that can be read completely; and for each other skill, key → reason."""
    files: dict[str, BundleFile] = {}
    refused: dict[str, str] = {}
    names: set[str] = set()
    budget = Budget(inputs.limits.bundle_bytes, inputs.limits.bundle_entries)
    for skill in skills:
        remaining = replace(budget, skipped=[])  # a copy: a skill that is left out uses up nothing
        try:
            found = _read_skill(skill, inputs, remaining, names)
        except (OSError, ValueError) as error:
            refused[skill.key] = _reason(error)
            continue
        names.add(skill.runtime_name)
        budget = remaining
        files.update(found)
        if skipped := remaining.skipped:
            shown = ", ".join(skipped[:3])
            notes.append(
                f"Skill {skill.key}: {len(skipped)} links, special files or odd names left out ({shown})"
            )
    return files, refused


def _read_skill(skill: Skill, inputs: PackInputs, budget: Budget, names: set[str]) -> Files:
    if not PurePosixPath(skill.source).is_absolute():
        raise PathRefused(f"its folder {skill.source[:80]!r} is not an absolute path")
    if skill.runtime_name in names:
        raise PathRefused(f"another skill has the same name, {skill.runtime_name}")
    with open_path(skill.source, inputs.volume) as folder:
        _check_place(folder, inputs.skill_rule, f"the folder of skill {skill.key[:80]}", "skillRoots")
        return skill_files(skill.runtime_name, read_tree(folder, budget))


def _read_instructions(inputs: PackInputs, notes: list[str]) -> str | None:
    """The text of the instructions; None if there are none, or, with a note, if they cannot be read."""
    path = inputs.instructions
    if path is None:
        return None
    try:
        if not PurePosixPath(path).is_absolute():
            raise PathRefused("it is not an absolute path")
        limit, rule = inputs.limits.instructions_bytes, inputs.instruction_rule
        check = partial(
            _check_place, rule=rule, subject="instructionsFilePath", policy_field="instructionRoots"
        )
        return read_file(path, inputs.volume, limit, check).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        notes.append(f"Instructions file {path} could not be read: {_reason(error)}")
        return None


def _own_bundle_folders(bundles: BundleFolder) -> Iterator[BundleFolder]:
    """The same folder below top folders of our own: existing folders, then a new one with a random name."""
    with suppress(OSError), open_volume(bundles.volume) as volume:
        ours = our_uids(volume)
        yield from islice((bundles.below(name) for name in _own_homes(volume, ours)), _MAX_OWN_HOMES)
    yield bundles.below(f".paperclip-{secrets.token_hex(4)}")


def _own_homes(volume: int, ours: Collection[int]) -> Iterator[str]:
    for name in names_in(volume):
        if OWN_HOME.fullmatch(name):
            with suppress(OSError), open_at(volume, name) as home:
                if os.fstat(home).st_uid in ours:
                    yield name


def _check_place(opened: int, rule: FolderRule, subject: str, policy_field: str) -> None:
    """Compare the real path of an open file with the rule, because links may have changed meanwhile.

    `subject`: what was opened, for the message.

    Raises RunFailure `k8s_policy_refused`.
    """
    real = str(Path(f"/proc/self/fd/{opened}").readlink())
    if not rule.allows(real):
        why = f"links lead to {real[:200]}, which {policy_field} does not allow"
        raise RunFailure(failures.policy_refused(Refusal(subject, why, policy_field)))


def _write_bundle(bundles: BundleFolder, bundle: Bundle, *, only_ours: bool = True) -> None:
    """Write the bundle unless it exists unchanged. Raises `OSError`."""
    with (
        open_volume(bundles.volume) as volume,
        make_folders(volume, *bundles.path.split("/"), only_ours=only_ours) as cache,
    ):
        for _ in range(_WRITE_ATTEMPTS):
            if _exists_unchanged(cache, bundle):
                return
            with suppress(FileExistsError):
                write_tree(cache, bundle.key, bundle.files)
                remove_abandoned(cache, bundle.key)
                return
            if not _exists_unchanged(cache, bundle):
                remove_tree(cache, bundle.key)
    raise OSError(f"other processes keep changing {bundles.path}/{bundle.key}")


def _exists_unchanged(cache: int, bundle: Bundle) -> bool:
    """Whether the bundle's folder exists and contains exactly the bundle's files."""
    entries = sum(path.count("/") + 1 for path in bundle.files)  # each file with the folders above it
    exact = Budget(sum(len(file.content) for file in bundle.files.values()), entries)
    try:
        with open_at(cache, bundle.key) as folder:
            return content_key(read_tree(folder, exact)) == bundle.key and not exact.skipped
    except OSError:
        return False


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
