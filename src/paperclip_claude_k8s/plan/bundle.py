"""The prompt bundle: the agent's instructions and skills, in a folder named by a hash of its content.

    <shared volume>/…/companies/<company>/claude-prompt-cache/<key>/agent-instructions.md
                                                                    .claude/skills/<skill>/SKILL.md

The key is a sha256 of all files, so runs with equal instructions and skills share a folder, a folder can be
verified before use, and a session is resumed only with the bundle that it began with. The agent reads copies
that its relay has verified (`shared_files.py`). Without a shared volume, instructions and small skills go
into the run Secret, and larger skills into Secrets of their own (`upload_parts.py`). `volume/packing.py`
reads the sources and writes the folder.
"""

import gzip
import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from weakref import WeakValueDictionary

from paperclip_claude_k8s.plan.paths import POD_HOME, RUN_DIR, to_pod_path
from paperclip_claude_k8s.plan.shared_files import SharedFile, is_listable, path_of_copy
from paperclip_claude_k8s.plan.upload_parts import SkillArchive

INSTRUCTIONS = "agent-instructions.md"
SKILLS = ".claude/skills"
"""Where the Claude CLI looks for skills in a folder that `--add-dir` names."""
MAX_NAME_CHARS = 255
"""Longest name of a file or folder: the kernel accepts 255 bytes. The name of a skill is in the paths of all
its files."""

SECRET_BUNDLE = f"{RUN_DIR}/bundle"
"""Folder with the skills that the run Secret holds."""
UNPACKED_BUNDLE = "/var/run/paperclip/skills"
"""Folder with the skills that an init container has unpacked."""
SECRET_SKILL_BYTES = 512 * 1024
"""Maximum bytes of skills in the run Secret, in base64: etcd limits the whole Secret to about 1 MiB."""
SECRET_SKILL_FILES = 500
"""Maximum number of skill files in the run Secret: the Job contains the path of each."""
CACHE = "claude-prompt-cache"
"""Name of the folder with all bundles of a company."""
_HOME_ON_VOLUME = ".paperclip"

_archives: WeakValueDictionary[str, SkillArchive] = WeakValueDictionary()
"""Key of the skills → their archive, as long as a run uses it: equal skills are packed and in memory once."""


class PathRefused(ValueError):
    """A name that cannot be a part of a path, or would lead out of its folder; the message quotes it."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    content: bytes = field(repr=False)
    executable: bool = False


Files: TypeAlias = Mapping[str, BundleFile]
"""Path → file. The path is relative to the bundle or to one skill, with `/` as separator."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """All files of one run's bundle."""

    files: Files

    @property
    def key(self) -> str:
        return content_key(self.files)

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of the skills in the bundle."""
        below = f"{SKILLS}/"
        names = (path.removeprefix(below).split("/")[0] for path in self.files if path.startswith(below))
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """The folder with all bundles of one company.

    `volume`: mount point of the shared volume in this process. `path`: the folder's path below that.
    """

    volume: str
    path: str

    def below(self, home: str) -> "BundleFolder":
        """The same folder below another home. `home`: name of a folder at the top of the volume."""
        return BundleFolder(self.volume, f"{home}/instances/{self.path.rpartition('instances/')[2]}")


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle as the agent's command line refers to it; paths are the Pod's."""

    key: str | None = None
    """Stored with the session."""
    root: str | None = None
    """The folder for `--add-dir`."""
    instructions_file: str | None = None
    """The file for `--append-system-prompt-file`."""
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """File name → text of instructions that go into the run Secret, because there is no shared volume."""
    skill_files: Files = field(default_factory=dict, repr=False)
    """Path in the bundle → skill files that go into the run Secret, for the same reason."""
    archive: SkillArchive | None = None
    """The skills, if they are too large for the run Secret."""
    shared: tuple[SharedFile, ...] = ()
    """The bundle's files on the shared volume, which the relay verifies and copies."""
    skills: tuple[str, ...] = ()
    """Names of the skills that the agent gets."""
    notes: tuple[str, ...] = ()
    """Lines for the host."""


def path_part(name: str) -> str:
    """Return `name` if it is a single component of a path.

    Raises:
        PathRefused: `name` is empty, `.` or `..`, is too long, or holds a separator or a control character.
    """
    # `is_listable` refuses blanks at the ends of a name, but in an id they do no harm.
    is_name = name not in {"", ".", ".."} and len(name) <= MAX_NAME_CHARS and "/" not in name
    if not is_name or not is_listable(name.strip(" ")):
        raise PathRefused(f"{name[:80]!r} cannot be the name of a file or folder")
    return name


def bundle_folder(env: Mapping[str, str], company: str | None, volume: str) -> BundleFolder:
    """`<home>/instances/<instance>/companies/<company>/claude-prompt-cache` on the shared volume.

    The home is PAPERCLIP_HOME or `~/.paperclip`. If that is not on the volume, where the Pod could not reach
    it, the home is `.paperclip` at the top of the volume.

    Raises:
        PathRefused: the instance's or the company's id cannot be the name of a folder.
    """
    instance = path_part(env.get("PAPERCLIP_INSTANCE_ID", "").strip() or "default")
    parts = ("instances", instance, "companies", path_part(company or "none"), CACHE)
    return BundleFolder(volume, posixpath.normpath(posixpath.join(_host_home_on_volume(env, volume), *parts)))


def skill_files(runtime_name: str, tree: Files) -> Files:
    """One skill's files with their paths in the bundle.

    Raises:
        PathRefused: the runtime name, or the path of a file, leads out of the skill's folder.
    """
    folder = posixpath.join(SKILLS, path_part(runtime_name))
    return {posixpath.join(folder, *map(path_part, path.split("/"))): file for path, file in tree.items()}


def assemble(
    instructions: str | None, skill_list: str | None, skills: Files, read_from: str | None = None
) -> Bundle:
    """A bundle of these texts and skills. `read_from` is the path of the instructions in the Pod, if any."""
    text = "\n\n".join(_instruction_sections(instructions, skill_list, read_from))
    instruction_files = {INSTRUCTIONS: BundleFile(text.encode("utf-8", "replace"))} if text else {}
    return Bundle({**instruction_files, **skills})


def content_key(files: Files) -> str:
    """sha256 over every path, mode and content; lengths are included, so that only equal sets share a key."""
    digest = hashlib.sha256()
    for path, file in sorted(files.items()):
        name = path.encode("utf-8", "surrogateescape")
        digest.update(b"%d %s %d %d " % (len(name), name, file.executable, len(file.content)))
        digest.update(file.content)
    return digest.hexdigest()


def packed_on_volume(bundle: Bundle, bundles: BundleFolder, notes: tuple[str, ...] = ()) -> Packed:
    """The bundle as the agent finds it in the Pod, if it is in its company's folder on the shared volume."""
    key = bundle.key
    folder = f"{bundles.path}/{key}"
    root = path_of_copy(folder)
    file = f"{root}/{INSTRUCTIONS}" if INSTRUCTIONS in bundle.files else None
    shared = tuple(
        SharedFile.of(f"{folder}/{path}", file.content, executable=file.executable)
        for path, file in bundle.files.items()
    )
    return Packed(key, root, file, shared=shared, skills=bundle.skills, notes=notes)


def packed_in_secret(bundle: Bundle, notes: tuple[str, ...] = ()) -> Packed:
    """The bundle of a run without a shared volume: in the run Secret, except for skills that do not fit."""
    if not bundle.files:
        return Packed(notes=notes)
    skills = {path: file for path, file in bundle.files.items() if path != INSTRUCTIONS}
    instructions = bundle.files.get(INSTRUCTIONS)
    packed = Packed(
        key=bundle.key,
        root=SECRET_BUNDLE if skills else None,
        instructions_file=f"{RUN_DIR}/{INSTRUCTIONS}" if instructions is not None else None,
        files={INSTRUCTIONS: instructions.content.decode("utf-8")} if instructions is not None else {},
        skill_files=skills,
        skills=bundle.skills,
        notes=notes,
    )
    return packed if skills_fit(skills) else with_archive(packed)


def with_archive(packed: Packed) -> Packed:
    """The bundle with its skills in Secrets of their own, not in the run Secret."""
    key = content_key(packed.skill_files)
    archive = _archives.get(key)
    if archive is None:
        archive = _archives[key] = SkillArchive.of(_packed_skills(packed.skill_files))
    return replace(packed, root=UNPACKED_BUNDLE, skill_files={}, archive=archive)


def _packed_skills(skills: Files) -> bytes:
    """A gzipped tar with these files; equal files always give the same bytes."""
    content = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=content, mode="wb", compresslevel=6, mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path, file in sorted(skills.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(file.content), 0o755 if file.executable else 0o644
            tar.addfile(entry, io.BytesIO(file.content))
    return content.getvalue()


def secret_keys(skills: Files) -> Mapping[str, str]:
    """Key of the run Secret → path of a skill's file in the bundle. A key cannot be a path with slashes."""
    return {f"skill-{number:03}": path for number, path in enumerate(sorted(skills))}


def encoded_size(files: Files) -> int:
    """About how many bytes the files have in base64."""
    return sum(len(file.content) * 4 // 3 for file in files.values())


def skills_fit(skills: Files) -> bool:
    """Whether the run Secret has room for these skills beside prompt, tokens and variables."""
    return encoded_size(skills) <= SECRET_SKILL_BYTES and len(skills) <= SECRET_SKILL_FILES


def without_skills(packed: Packed, why: str) -> Packed:
    """The bundle without the skills that only Secrets could hold. Its key is that of the remaining files."""
    if not packed.skill_files and packed.archive is None:
        return packed
    files = {name: BundleFile(text.encode("utf-8")) for name, text in packed.files.items()}
    return packed_in_secret(Bundle(files), (*packed.notes, f"Skills are not delivered: {why}"))


def _host_home_on_volume(env: Mapping[str, str], volume: str) -> str:
    home = env.get("HOME", "").strip()
    host_home = env.get("PAPERCLIP_HOME", "").strip() or posixpath.join("~", _HOME_ON_VOLUME)
    if host_home == "~" or host_home.startswith("~/"):
        host_home = f"{home}{host_home[1:]}"
    in_pod = to_pod_path(host_home, volume)
    return _HOME_ON_VOLUME if in_pod is None else posixpath.relpath(in_pod, POD_HOME)


def _instruction_sections(text: str | None, skill_list: str | None, read_from: str | None) -> Iterator[str]:
    if text is not None and text.strip():
        yield text.strip()
        if read_from is not None:
            folder = posixpath.dirname(read_from)
            yield f"These instructions are from {read_from}; relative paths in them start at {folder}."
    if skill_list is not None and skill_list.strip():
        yield skill_list.strip()
