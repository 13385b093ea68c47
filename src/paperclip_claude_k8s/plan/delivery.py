"""The route by which each file of a run reaches its Pod: run Secret, init container, or shared volume.

- `secret`, the default: the run Secret is mounted as a folder. It is private, but etcd limits its size.
- `init` (`promptDelivery: init`): an init container with the agent's image writes the files into an emptyDir.
  The texts are in its environment, in pieces short enough for Linux. So they are part of the Job, and more
  people may read Jobs than Secrets. Private files stay in the run Secret; the container copies them.
- `staged`: a file that is too large for Secret and Job is written to the shared volume, if there is one. Only
  the prompt and variables that became files can be staged: their readers are told the path of the relay's
  verified copy. Private files are never staged.

Example: a 2 MiB prompt and a 1 KiB `mcp.json` with a token. The prompt is staged in the volume's folder
`run-files/<job>`; `mcp.json` is private and stays in the Secret, in `RUN_DIR`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from paperclip_claude_k8s.base.text import encodable
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.host.redact import is_secret_name, looks_like_credential
from paperclip_claude_k8s.plan.environment import ENV_STRING_BYTES, FILE_PREFIX
from paperclip_claude_k8s.plan.paths import RUN_DIR
from paperclip_claude_k8s.plan.shared_files import LIST_FILE, SharedFile, path_of_copy, render_list

STAGING_FOLDER = "run-files"
"""Folder on the shared volume for staged files, with one folder per Job."""

OBJECT_BYTES = 900 * 1024
"""Maximum bytes of text in one Secret or Job: etcd refuses objects above about 1 MiB."""

_INIT_CONTAINER = "write-prompt"
SECRET_DIR = "/var/run/paperclip/secret"  # noqa: S105  # a path, not a password
"""Where the run Secret is mounted in the init container."""
TARGET_ENV = "PAPERCLIP_FILES_DIR"
SECRET_ENV = "PAPERCLIP_FILES_FROM"  # noqa: S105  # the name of a variable
"""Variables of the init container: where to write the files, and where the run Secret is mounted."""
_PIECE_PREFIX = "PAPERCLIP_FILE_"
_NAME_BYTES = 40
"""Bytes of the environment string of a piece that are reserved for the name of its variable."""

TextFiles = Mapping[str, str]
"""File name → text."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run's files by their route. `staged_in` is the folder on the shared volume for `staged`."""

    secret: TextFiles = field(default_factory=dict, repr=False)
    init: TextFiles = field(default_factory=dict, repr=False)
    staged: TextFiles = field(default_factory=dict, repr=False)
    staged_in: str = ""
    shared: tuple[SharedFile, ...] = ()
    """All files on the shared volume, whose list is one of the run's files."""

    def path(self, name: str) -> str:
        """The file's path in the Pod."""
        return path_of_copy(f"{self.staged_in}/{name}") if name in self.staged else f"{RUN_DIR}/{name}"


def is_private(name: str, text: str) -> bool:
    """Whether only a Secret may hold the file: it holds a secret variable, or its text contains a credential.

    The prompt is not searched.
    """
    variable = name.removeprefix(FILE_PREFIX) if name.startswith(FILE_PREFIX) else ""
    return is_secret_name(variable) or (name != "prompt.txt" and looks_like_credential(text))


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """The routes that a run's files may take."""

    route: Literal["secret", "init"]
    """The route of public files that are not staged."""
    limit: int
    """Maximum bytes of text in the Secret or in the Job."""
    folder: str = ""
    """Folder on the shared volume for staged files; "" if nothing can be staged."""
    reserved: int = 0
    """Bytes of the Secret that values of variables take up."""
    movable: frozenset[str] = frozenset()
    """Names of the files that may be staged, because whatever reads them is given their path."""
    shared: tuple[SharedFile, ...] = ()
    """Files that are on the shared volume already: the prompt bundle."""


def deliver(files: TextFiles, private: Callable[[str, str], bool], options: DeliveryOptions) -> Delivery:
    """Choose the route of each file. If they exceed the limit, the largest public movable ones are staged.

    The remaining files may still exceed the limit; the caller compares `RunPlan.object_bytes` with it. If
    they surely do, all are private and not searched for credentials: all runs would wait for the search.
    """
    if not options.folder and _exceed(files, options):
        return Delivery(files, shared=options.shared)
    secret = {name: text for name, text in files.items() if private(name, text)}
    public = {name: text for name, text in files.items() if name not in secret}
    by_init = options.route == "init"
    used = 0 if by_init else options.reserved + sum(map(size, secret.values()))
    used += size(render_list(options.shared))
    staged = _files_to_stage(public, options.limit - used, options.movable) if options.folder else {}
    shared = (*options.shared, *(_shared_file(options.folder, *file) for file in staged.items()))
    listed = {LIST_FILE: render_list(shared)} if shared else {}
    unstaged = {name: text for name, text in public.items() if name not in staged} | listed
    if by_init:
        return Delivery(secret, unstaged, staged, options.folder, shared)
    return Delivery({**unstaged, **secret}, {}, staged, options.folder, shared)


def content_of(text: str) -> bytes:
    """A staged file's content: its text in UTF-8, with question marks for lone surrogates."""
    return text.encode("utf-8", "replace")


def _exceed(files: TextFiles, options: DeliveryOptions) -> bool:
    """Whether the files do not fit into Secret and Job, whichever of them are private."""
    sizes = [size(text) for text in files.values()]
    return max(sizes, default=0) > options.limit if options.route == "init" else sum(sizes) > options.limit


def _shared_file(folder: str, name: str, text: str) -> SharedFile:
    return SharedFile.of(f"{folder}/{name}", content_of(text))


def size(text: str) -> int:
    """Bytes in UTF-8. A lone surrogate, which UTF-8 cannot hold, counts as three."""
    return len(text.encode("utf-8", "surrogatepass"))


def _files_to_stage(files: TextFiles, limit: int, movable: frozenset[str]) -> TextFiles:
    """The largest movable files; enough of them that all other files fit into `limit` bytes, if possible."""
    total = sum(map(size, files.values()))
    chosen: dict[str, str] = {}
    for name, text in sorted(files.items(), key=lambda item: -size(item[1])):
        if total <= limit:
            break
        if name not in movable:
            continue
        chosen[name] = text
        total -= size(text)
    return chosen


def escaped(text: str) -> str:
    """The text escaped for commands and env, where Kubernetes expands `$(NAME)` and turns `$$` into `$`."""
    return text.replace("$", "$$")


def script_env(prefix: str, variables: Mapping[str, object]) -> list[JsonObject]:
    """The env of a container with these variables, whose names get the prefix."""
    named = {f"{prefix}{key}": str(value) for key, value in variables.items()}
    return [{"name": name, "value": escaped(value)} for name, value in sorted(named.items())]


def pieces(text: str, limit: int) -> Iterator[str]:
    """The text in pieces, each of at most `limit` bytes of UTF-8 after escaping."""
    start = 0
    while start < len(text):
        end = min(start + limit, len(text))
        while (length := len(escaped(text[start:end]).encode())) > limit:
            end = start + max((end - start) * limit // length, 1)
        yield text[start:end]
        start = end


def writing_container(files: TextFiles, *, with_secret: bool) -> JsonObject:
    """Name, command, env and mounts of the init container; `manifest.py` adds the rest."""
    script = ["set -eu", "umask 077"]
    env: list[JsonObject] = [{"name": TARGET_ENV, "value": RUN_DIR}]
    mounts: list[JsonObject] = [{"name": "run", "mountPath": RUN_DIR}]
    if with_secret:
        script.append(f'cp "${SECRET_ENV}"/* "${TARGET_ENV}"/')
        env.append({"name": SECRET_ENV, "value": SECRET_DIR})
        mounts.append({"name": "run-secret", "mountPath": SECRET_DIR, "readOnly": True})
    for index, (file, text) in enumerate(sorted(files.items())):
        script.append(f': >"${TARGET_ENV}/{file}"')
        for number, piece in enumerate(pieces(_encodable(text), ENV_STRING_BYTES - _NAME_BYTES)):
            name = f"{_PIECE_PREFIX}{index}_{number}"
            env.append({"name": name, "value": escaped(piece)})
            script.append(f'printf %s "${name}" >>"${TARGET_ENV}/{file}"')
    command = ["sh", "-c", escaped("\n".join(script))]
    return {"name": _INIT_CONTAINER, "command": command, "env": env, "volumeMounts": mounts}


def _encodable(text: str) -> str:
    """The text without NUL, which environment strings cannot hold; lone surrogates become question marks."""
    return encodable(text.replace("\0", ""))
