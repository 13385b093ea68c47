"""What an agent that creates agents is told of this adapter: markdown made of the settings' own table."""

from itertools import groupby

from paperclip_claude_k8s.host.config import other_names
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.form import FORM_TURNS, plain_default

_SHAPES = {"number": "number", "toggle": "boolean"}

_OPENING = f"""\
# claude_k8s agent configuration

Runs each agent with Claude Code as a Kubernetes Job of its own and streams its output back.

Use it where agents need isolation, their own resources, or more room than the host's machine has. Do not use
it where there is no cluster: the Job needs an image with `sh` and `claude`, and credentials for the model in
`env` or on the shared volume.

Nothing has to be set where the host runs in the cluster: image, volume and environment come from its own
Pod. Elsewhere set `kubeconfig`, `namespace` and `image`. Start with `model` and `maxTurnsPerRun`
(forms: {FORM_TURNS}).
"""

_CLOSING = """\
Unknown keys are ignored and said once. A wrong type fails the run with `k8s_config_invalid`, which names the
key, the value and what is expected. `resources` may also be a nested object. Secrets belong into `env`, bound
there by the host: they reach the agent through a Secret and never stand in the Job.
"""


def agent_configuration_doc() -> str:
    """Markdown: every setting with its type, default and meaning, by group."""
    groups = groupby(SETTINGS, key=lambda setting: setting.group)
    sections = (f"## {name}\n\n{''.join(map(_line, settings))}" for name, settings in groups)
    return "\n".join((_OPENING, *sections, _CLOSING))


def _line(setting: Setting) -> str:
    names = " or ".join(f"`{name}`" for name in (setting.key, *other_names(setting.key)))
    return f"- {names} ({_kind(setting)}{_default(setting)}): {setting.hint}\n"


def _kind(setting: Setting) -> str:
    if setting.kind == "select":
        return f"one of {', '.join(setting.options)}"
    return _SHAPES.get(setting.kind, setting.shape)


def _default(setting: Setting) -> str:
    """What an empty config has; a form may start with something else."""
    value = plain_default(setting)
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f", default {shown}" if shown else ""
