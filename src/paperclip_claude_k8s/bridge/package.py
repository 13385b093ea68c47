"""The npm package that brings the bridge to a Node host: JavaScript from here, facts from this version."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.bridge.wire import PROTOCOL
from paperclip_claude_k8s.claude.ui import ui_parser_source
from paperclip_claude_k8s.ports import ProcessSettings

NAME = "paperclip-adapter-claude-k8s"
UI_CONTRACT = "1.0.0"
"""Version of the UI parser's contract; the host skips a parser of another major (HOST.md 1)."""
SOURCES = ("index.js", "bridge.js", "run.js", "session.js", "texts.js", "README.md")
HELLO_MS = 60_000
"""How long Python may take to start: a second or two, on a busy machine many."""
IDLE_MS = 15 * 60_000
"""A Python process that has nothing under way is let go after so long: it holds memory and nothing else."""
MEMBERS = (
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
"""What the host reads of an adapter without calling it."""


class FolderTaken(Exception):
    """The folder holds something else, which is not overwritten."""


def write_package(folder: Path, python: str) -> dict[str, Any]:
    """Write the package, over an earlier one of ours, and give its manifest.

    `python` is the interpreter the host starts, unless CLAUDE_K8S_PYTHON names another in its environment.

    Raises:
        FolderTaken: the folder is not empty and holds no package of ours.
        OSError: it cannot be written.
    """
    if _taken(folder):
        raise FolderTaken(f"{folder} is not empty and holds no {NAME}: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    described = manifest()
    place = files("paperclip_claude_k8s.bridge").joinpath("shim")
    contents = {
        **{name: place.joinpath(name).read_text(encoding="utf-8") for name in SOURCES},
        "ui-parser.cjs": ui_parser_source(),
        "facts.json": _json(facts(python)),
        "package.json": _json(described),
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return described


def manifest() -> dict[str, Any]:
    return {
        "name": NAME,
        "version": __version__,
        "description": "Runs Claude Code agents as Kubernetes Jobs; needs the Python package of that name",
        "license": "MIT",
        "type": "module",
        "engines": {"node": ">=20"},
        "exports": {".": "./index.js", "./ui-parser": "./ui-parser.cjs"},
        "paperclip": {"adapterUiParser": UI_CONTRACT},
        "files": [*SOURCES, "ui-parser.cjs", "facts.json"],
    }


def facts(python: str) -> dict[str, Any]:
    """What the JavaScript knows of this version; the same on every machine, but for the interpreter."""
    adapter: Any = Adapter(ProcessSettings(env={}))
    return {
        "type": adapter.type,
        "version": __version__,
        "protocol": PROTOCOL,
        "python": python,
        "helloMs": HELLO_MS,
        "idleMs": IDLE_MS,
        "members": {name: getattr(adapter, name) for name in MEMBERS},
        "models": adapter.models,
        "configSchema": adapter.get_config_schema(),
    }


def _taken(folder: Path) -> bool:
    if not folder.exists():
        return False
    if not folder.is_dir():
        return True
    try:
        return bool(json.loads((folder / "package.json").read_bytes()).get("name") != NAME)
    except FileNotFoundError:
        return any(folder.iterdir())
    except (ValueError, AttributeError):
        return True


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
