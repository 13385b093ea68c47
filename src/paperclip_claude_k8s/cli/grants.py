"""Grants: additions to the policy for the person at the shell, who can read and run the granted files anyway.

Kubeconfigs that an option or KUBECONFIG names, and ~/.kube/config, may run exec plugins with all variables of
the shell, as with kubectl. A kubeconfig that only a file of settings names may not. Instructions and skills
may be in the folder of the file that `--config` names. The record of a run keeps its grants, so that a later
command can continue the run.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

from paperclip_claude_k8s.cli.command_options import absolute_files
from paperclip_claude_k8s.ports import ProcessSettings


def grants(kubeconfig: object, config_file: Path | None, context: str | None = None) -> dict[str, list[str]]:
    """The grants of a command, as additions to fields of the policy. An argument is None if not given.

    `kubeconfig`: one path, or several with `:` between them. `context`: what `--context` names.
    """
    granted: dict[str, list[str]] = {}
    if context is not None:
        granted["kubeContexts"] = [escape(context)]
    if isinstance(kubeconfig, str):
        granted["kubeconfigs"] = absolute_files(kubeconfig).split(os.pathsep)
        granted |= {"kubeContexts": ["*"], "execPlugins": ["*"], "execPluginVariables": ["*"]}
    if config_file is not None:
        folder = str(config_file.absolute().parent)
        granted |= {"instructionRoots": [folder], "skillRoots": [folder]}
    return granted


def with_grants(settings: ProcessSettings, granted: Mapping[str, Sequence[str]]) -> ProcessSettings:
    """The settings with a policy that also allows what was granted."""
    return replace(settings, policy=settings.policy.extended(granted))
