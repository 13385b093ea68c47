"""The prompt bundle: instructions and skills of a run, addressed by what is in them (SPEC 6, HOST.md 8)."""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from paperclip_claude_k8s.plan.paths import POD_HOME, RUN_DIR, to_pod_path

INSTRUCTIONS = "agent-instructions.md"
SKILLS = ".claude/skills"
"""Where the CLI looks for skills below a folder given by `--add-dir`."""

CACHE = "claude-prompt-cache"
_OWN_HOME = ".paperclip"


class PathRefused(ValueError):
    """A name that would lead out of the folder it is meant for; the message says which and why."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    content: bytes = field(repr=False)
    executable: bool = False


Files: TypeAlias = Mapping[str, BundleFile]
"""Path below the bundle, or below one skill, with `/` between its parts → file."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one run's agent shall find; equal bundles share a folder, and it can be verified."""

    files: Files

    @property
    def key(self) -> str:
        return content_key(self.files)


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """The folder of all bundles of one company: `path` below the shared volume, mounted here at `volume`."""

    volume: str
    path: str

    def in_pod(self, key: str) -> str:
        return f"{POD_HOME}/{self.path}/{key}"


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle as the agent's command line needs it; paths are the Pod's.

    `root` is for `--add-dir`, `instructions_file` for `--append-system-prompt-file`, `key` for the session.
    `files` go into the run Secret: instructions that could not lie on the volume. `notes` are for the host.
    """

    key: str | None = None
    root: str | None = None
    instructions_file: str | None = None
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()


def path_part(name: str) -> str:
    """`name`, if it is one component of a path.

    Raises:
        PathRefused: it is empty, `.` or `..`, or holds a separator or NUL.
    """
    if name in {"", ".", ".."} or any(char in name for char in "/\\\0"):
        raise PathRefused(f"{name[:80]!r} cannot be the name of a file or folder")
    return name


def bundle_folder(env: Mapping[str, str], company: str | None, volume: str) -> BundleFolder:
    """`<home>/instances/<instance>/companies/<company>/claude-prompt-cache` on the shared volume.

    The home is PAPERCLIP_HOME or `~/.paperclip`; one that does not lie on the volume would be out of the
    Pod's reach, so then it is `.paperclip` at the volume's top.

    Raises:
        PathRefused: the instance's or the company's id is no name of a folder.
    """
    instance = path_part(env.get("PAPERCLIP_INSTANCE_ID", "").strip() or "default")
    parts = ("instances", instance, "companies", path_part(company or "none"), CACHE)
    return BundleFolder(volume, posixpath.normpath(posixpath.join(_home_below(env, volume), *parts)))


def skill_files(runtime_name: str, tree: Files) -> Files:
    """One skill's files as they lie in the bundle.

    Raises:
        PathRefused: the runtime name, or the path of a file, leads somewhere else.
    """
    folder = posixpath.join(SKILLS, path_part(runtime_name))
    return {posixpath.join(folder, *map(path_part, path.split("/"))): file for path, file in tree.items()}


def assemble(
    instructions: str | None, manifest: str | None, skills: Files, read_from: str | None = None
) -> Bundle:
    """All files of a bundle; `read_from` is the instructions' path in the Pod, if they have one there."""
    text = "\n\n".join(_sections(instructions, manifest, read_from))
    own = {INSTRUCTIONS: BundleFile(text.encode("utf-8", "replace"))} if text else {}
    return Bundle({**own, **skills})


def content_key(files: Files) -> str:
    """sha256 over every path, mode and content; lengths are part of it, so that no two sets run together."""
    digest = hashlib.sha256()
    for path, file in sorted(files.items()):
        name = path.encode("utf-8", "surrogateescape")
        digest.update(b"%d %s %d %d " % (len(name), name, file.executable, len(file.content)))
        digest.update(file.content)
    return digest.hexdigest()


def packed_on_volume(bundle: Bundle, bundles: BundleFolder, notes: tuple[str, ...] = ()) -> Packed:
    """The bundle lies in its place."""
    root = bundles.in_pod(bundle.key)
    file = f"{root}/{INSTRUCTIONS}" if INSTRUCTIONS in bundle.files else None
    return Packed(bundle.key, root, file, notes=notes)


def packed_in_secret(instructions: str | None, notes: tuple[str, ...] = ()) -> Packed:
    """Nothing can lie on the volume: the instructions travel with the prompt, skills not at all."""
    bundle = assemble(instructions, None, {})
    if not bundle.files:
        return Packed(notes=notes)
    text = bundle.files[INSTRUCTIONS].content.decode("utf-8")
    return Packed(bundle.key, None, f"{RUN_DIR}/{INSTRUCTIONS}", {INSTRUCTIONS: text}, notes)


def _home_below(env: Mapping[str, str], volume: str) -> str:
    home = env.get("HOME", "").strip()
    wished = env.get("PAPERCLIP_HOME", "").strip() or posixpath.join("~", _OWN_HOME)
    if wished == "~" or wished.startswith("~/"):
        wished = f"{home}{wished[1:]}"
    in_pod = to_pod_path(wished, volume)
    return _OWN_HOME if in_pod is None else posixpath.relpath(in_pod, POD_HOME)


def _sections(text: str | None, manifest: str | None, read_from: str | None) -> Iterator[str]:
    if text is not None and text.strip():
        yield text.strip()
        if read_from is not None:
            folder = posixpath.dirname(read_from)
            yield f"These instructions are from {read_from}; relative paths in them start at {folder}."
    if manifest is not None and manifest.strip():
        yield manifest.strip()
