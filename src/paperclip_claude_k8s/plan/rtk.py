"""`enableRtk`: a hook of the Claude CLI that limits the bytes of a tool's output.

The hook is defined in a separate settings file, which is passed with `--settings`: the CLI merges it with the
settings in the shared HOME, which the adapter never edits.
"""

import json
from functools import cache
from importlib.resources import files

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.paths import RUN_DIR

SETTINGS = "settings.json"
SCRIPT = "rtk-hook.cjs"


@cache
def hook_script() -> str:
    return files(__package__).joinpath(SCRIPT).read_text(encoding="utf-8")


def rtk_files(config: AdapterConfig) -> dict[str, str]:
    """File name → text of settings file and hook script; empty if the hook is off."""
    if not config.enable_rtk:
        return {}
    # Without node in the image, the tool's output stays unchanged.
    node = f"node {RUN_DIR}/{SCRIPT} {config.rtk_max_output_bytes}"
    command = f"if command -v node >/dev/null 2>&1; then {node}; else cat >/dev/null; fi"
    hook = {"matcher": "*", "hooks": [{"type": "command", "command": command, "timeout": 30}]}
    return {SETTINGS: json.dumps({"hooks": {"PostToolUse": [hook]}}), SCRIPT: hook_script()}


def rtk_arguments(config: AdapterConfig) -> tuple[str, ...]:
    """Arguments of the Claude CLI that switch the hook on; empty if it is off."""
    return ("--settings", f"{RUN_DIR}/{SETTINGS}") if config.enable_rtk else ()
