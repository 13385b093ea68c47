"""Writes the npm package that a Node host loads: JavaScript sources, and facts about this version."""

import json
import os
import re
import secrets
import stat
from importlib.resources import files
from pathlib import Path
from typing import Any

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.json_readers import as_object, as_texts
from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.bridge.wire import PROTOCOL
from paperclip_claude_k8s.claude.ui import ui_parser_source
from paperclip_claude_k8s.host.session import FIELD_SPELLINGS
from paperclip_claude_k8s.ports import ProcessSettings

PACKAGE_NAME = "paperclip-adapter-claude-k8s"
UI_CONTRACT = "1.0.0"
"""Version of the UI parser's contract; the host skips a parser with another major version."""
MODULES = ("bridge.js", "page.js", "run.js", "server.js", "session.js", "stop.js", "stored.js", "texts.js")
SOURCE_FILES = ("index.js", *MODULES, "README.md")
MIN_SERVER = "2026.916.1"
"""The oldest version of the Paperclip server with which this version of the adapter was tested."""
HELLO_TIMEOUT_MS = 60_000
"""Longest time in milliseconds for the start of Python, which usually takes one or two seconds."""
IDLE_TIMEOUT_MS = 15 * 60_000
"""Milliseconds after which a Python process without calls is ended."""
_FILE_NAME = re.compile(r"[A-Za-z0-9-]+\.(js|cjs|json|md)")
DATA_MEMBERS = (
    "label",
    "sessionManagement",
    "agentConfigurationDoc",
    "supportsLocalAgentJwt",
    "supportsInstructionsBundle",
    "instructionsPathKey",
    "requiresMaterializedRuntimeSkills",
    "runtimeToolDelivery",
    "hasOutOfProcessLiveness",
)
"""Members of the adapter object that the host reads without calling Python."""


class FolderTaken(Exception):
    """The folder is not changed, because it has files of something else, or other users can change it."""


def write_package(folder: Path, python: str, user: int | None = None) -> dict[str, Any]:
    """Write the package, replacing an earlier version of it, and return its manifest.

    `python` is the interpreter that the host starts; CLAUDE_K8S_PYTHON in the host's environment
    overrides it. `user`: uid of the user who writes; None: that of this process.

    Raises:
        FolderTaken: the folder is not empty and does not contain this package, or other users can change it.
        OSError: the folder cannot be written.
    """
    earlier = _earlier_manifest(folder)
    if earlier is None:
        raise FolderTaken(f"{folder} is not empty and does not contain {PACKAGE_NAME}: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    if why := _why_not_safe(folder, os.geteuid() if user is None else user):
        raise FolderTaken(f"{folder} {why}, who could change what the server runs: name a new folder")
    package_json = manifest()
    sources = files("paperclip_claude_k8s.bridge").joinpath("shim")
    contents = {
        **{name: sources.joinpath(name).read_text(encoding="utf-8") for name in SOURCE_FILES},
        "ui-parser.cjs": ui_parser_source(),
        "facts.json": _json(facts(python)),
        "package.json": _json(package_json),
    }
    for name, text in contents.items():
        _replace(folder / name, text)
    for name in as_texts(earlier.get("files")):
        if name not in contents and _FILE_NAME.fullmatch(name):
            (folder / name).unlink(missing_ok=True)
    return package_json


def manifest() -> dict[str, Any]:
    """Return the contents of `package.json`."""
    return {
        "name": PACKAGE_NAME,
        "version": __version__,
        "description": "Runs Claude Code agents as Kubernetes Jobs; needs the Python package of this name",
        "license": "MIT",
        "type": "module",
        "engines": {"node": ">=20"},
        "exports": {".": "./index.js", "./ui-parser": "./ui-parser.cjs"},
        "paperclip": {"adapterUiParser": UI_CONTRACT},
        "files": [*SOURCE_FILES, "ui-parser.cjs", "facts.json"],
    }


def facts(python: str) -> dict[str, Any]:
    """Return the values that the JavaScript reads. Only `python`, the interpreter, depends on the machine."""
    adapter: Any = Adapter(ProcessSettings(env={}))
    return {
        "type": adapter.type,
        "version": __version__,
        "protocol": PROTOCOL,
        "python": python,
        "minServer": MIN_SERVER,
        "helloMs": HELLO_TIMEOUT_MS,
        "idleMs": IDLE_TIMEOUT_MS,
        "maxLineBytes": Limits().bridge_line_bytes,
        "members": {name: getattr(adapter, name) for name in DATA_MEMBERS},
        "sessionFields": FIELD_SPELLINGS,
        "models": adapter.models,
        "configSchema": adapter.get_config_schema(),
    }


def _earlier_manifest(folder: Path) -> dict[str, Any] | None:
    """The `package.json` of an earlier version; {}: the folder is new or empty; None: it has other files."""
    if not folder.exists():
        return {}
    if not folder.is_dir():
        return None
    try:
        earlier = as_object(json.loads((folder / "package.json").read_bytes()))
    except FileNotFoundError:
        return None if any(folder.iterdir()) else {}
    except ValueError:
        return None
    return earlier if earlier.get("name") == PACKAGE_NAME else None


def _why_not_safe(folder: Path, user: int) -> str:
    """Why other users can change the files in the folder; "" if they cannot.

    Root may write to the folder of the server's user.
    """
    status = folder.stat()
    if user not in {0, status.st_uid}:
        return "belongs to another user"
    return "is a folder to which other users can write" if status.st_mode & stat.S_IWOTH else ""


def _replace(path: Path, text: str) -> None:
    """Put a new file in the place of an earlier one. A link there is replaced, and not followed."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with new.open("x", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
