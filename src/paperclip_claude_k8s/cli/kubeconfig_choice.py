"""Which kubeconfig and context a command uses, in kubectl's order.

`--kubeconfig`, else the files that KUBECONFIG names, else `kubeconfig` in the file of `--config`, else
~/.kube/config, else the service account of the Pod in which the command runs.
"""

import os
from dataclasses import replace
from pathlib import Path

from paperclip_claude_k8s.cli.command_options import absolute_files
from paperclip_claude_k8s.cli.object_names import check_namespace, is_image
from paperclip_claude_k8s.cli.options import DEV_NAMESPACE, OptionsInvalid, merge_config
from paperclip_claude_k8s.ports import ProcessSettings

DEFAULT_KUBECONFIG = "~/.kube/config"


def chosen_kubeconfig(option: Path | None, config_file: Path | None, *, devcluster: bool) -> str | None:
    """The kubeconfig that the person at the shell chose.

    None if there is no kubeconfig, or only the file of `--config` names one.

    `option`: the value of `--kubeconfig` or KUBECONFIG. Raises `OptionsInvalid` for a bad `--config`.
    """
    if devcluster:
        return None
    if option is not None and (files := absolute_files(str(option))):
        return files
    return None if "kubeconfig" in merge_config(config_file, {}) else _default_kubeconfig()


def _default_kubeconfig() -> str | None:
    """~/.kube/config; None if it does not exist, or is where agents may write, as on the shared volume."""
    path = absolute_files(DEFAULT_KUBECONFIG)
    if not os.environ.get("HOME") or not os.path.isfile(path):  # noqa: PTH113  # as kubectl: not via /etc/passwd
        return None
    settings = ProcessSettings.read(os.environ)
    unlisted = replace(settings, policy=settings.policy.model_copy(update={"kubeconfigs": None}))
    rule = unlisted.folders.kubeconfigs  # a policy that lists kubeconfigs does not exclude this one
    return path if rule.allows(path) and rule.allows(os.path.realpath(path)) else None


def check_namespace_and_image(namespace: str | None, image: str | None = None, *, devcluster: bool) -> None:
    """Check a namespace and an image.

    Raises:
        OptionsInvalid: the value is no legal name, or has no effect on the development cluster.
    """
    check_namespace("--namespace", namespace)
    if image is not None and not is_image(image):
        raise OptionsInvalid(f"--image {image!r} is no name of an image")
    if devcluster and namespace not in {None, DEV_NAMESPACE}:
        raise OptionsInvalid(
            f"--namespace {namespace}: the development cluster has only the namespace {DEV_NAMESPACE}"
        )
    if devcluster and image is not None:
        raise OptionsInvalid(
            "--image has no effect with --devcluster, whose Pods are local processes: leave it out; "
            "--claude PATH uses a real Claude CLI"
        )


def check_cluster_options(kubeconfig: object, context: str | None, *, devcluster: bool, typed: bool) -> None:
    """Raises `OptionsInvalid` for options that contradict each other, or `--context` without a kubeconfig.

    `kubeconfig`: the kubeconfig that will be used. `typed`: whether `--kubeconfig` is on the command line.
    """
    if devcluster and (typed or context is not None):
        name = "--kubeconfig" if typed else "--context"
        raise OptionsInvalid(f"{name} names another cluster than --devcluster: leave one of them out")
    if context is not None and not kubeconfig:
        raise OptionsInvalid(
            f"--context needs a kubeconfig: neither --kubeconfig nor KUBECONFIG is given, and "
            f"{DEFAULT_KUBECONFIG} is missing or where agents can write"
        )
