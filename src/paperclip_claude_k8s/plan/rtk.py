"""`enableRtk`: a hook of the CLI that cuts what tools give back to a number of bytes (SPEC 3, opt-in).

The CLI merges the hooks of `--settings FILE` with those of the shared HOME, which is never edited.
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
    """File name → text, for the run's own folder; nothing where the hook is off."""
    if not config.enable_rtk:
        return {}
    # an image without node keeps its tools' output as it is
    run = f"node {RUN_DIR}/{SCRIPT} {config.rtk_max_output_bytes}"
    command = f"if command -v node >/dev/null 2>&1; then {run}; else cat >/dev/null; fi"
    hook = {"matcher": "*", "hooks": [{"type": "command", "command": command, "timeout": 30}]}
    return {SETTINGS: json.dumps({"hooks": {"PostToolUse": [hook]}}), SCRIPT: hook_script()}


def rtk_arguments(config: AdapterConfig) -> tuple[str, ...]:
    return ("--settings", f"{RUN_DIR}/{SETTINGS}") if config.enable_rtk else ()
