"""The guide for agents that configure other agents: Markdown, made from the table of settings."""

from itertools import groupby

from paperclip_claude_k8s.host.config import older_names
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.form import shown_default

_OPENING = """\
# claude_k8s agent configuration

Runs each agent with Claude Code in its own Kubernetes Job and streams its output back.

Use it where agents need isolation, their own resources, or more capacity than the host's machine has. Do not
use it without a cluster. The Job needs an image with `sh` and `claude`, and credentials for the model in
`env` or on the shared volume.

If the host runs in the cluster, nothing has to be set: image, volume and environment come from its own Pod.
Otherwise set `kubeconfig`, `namespace` and `image`. Start with `model` and `maxTurnsPerRun`.
"""

_CLOSING = """\
Unknown keys are ignored and reported once per run. A value of the wrong type fails the run with
`k8s_config_invalid`; the message names the key and what is expected, and quotes the value unless it may be a
secret. `resources` may also be a nested object. Put secrets into `env`, where the host binds them: they reach
the agent through a Secret and never appear in the Job.
"""


def agent_configuration_doc() -> str:
    """Return Markdown that lists every setting with its type, default and hint, by group."""
    groups = groupby(SETTINGS, key=lambda setting: setting.group)
    sections = (f"## {name}\n\n{''.join(map(_line, settings))}" for name, settings in groups)
    return "\n".join((_OPENING, *sections, _CLOSING))


def _line(setting: Setting) -> str:
    names = " or ".join(f"`{name}`" for name in (setting.key, *older_names(setting.key)))
    default = shown_default(setting)
    return f"- {names} ({setting.type_name}{default and f', default {default}'}): {setting.hint}\n"
