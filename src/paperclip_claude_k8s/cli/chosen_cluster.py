"""Connects to the cluster that a command's options name, and finds out the namespace."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from paperclip_claude_k8s.cli.command_options import ClusterOptions
from paperclip_claude_k8s.cli.grants import grants, with_grants
from paperclip_claude_k8s.cli.kubeconfig_choice import (
    check_cluster_options,
    check_namespace_and_image,
    chosen_kubeconfig,
)
from paperclip_claude_k8s.cli.options import running_cluster_settings
from paperclip_claude_k8s.cli.runs.replies import Stop, cluster_unreachable
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.ports import NullJournal, Ports, ProcessSettings, RunJournal
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.prepare import job_namespace

ALL_NAMESPACES = ""
"""Stands for all namespaces in calls that list objects."""


@asynccontextmanager
async def chosen_cluster(
    options: ClusterOptions, journal: RunJournal | None = None
) -> AsyncIterator[tuple[str, Ports] | None]:
    """The namespace and a connection, for the block; None if --devcluster is given and no such cluster runs.

    Raises:
        Stop: an option or the policy does not allow this cluster.
        ClusterError: the block raised it, or the namespace could not be found out.
    """
    chosen = chosen_kubeconfig(options.kubeconfig, None, devcluster=options.devcluster)
    typed = options.kubeconfig_from_option
    check_namespace_and_image(options.namespace, devcluster=options.devcluster)
    check_cluster_options(chosen, options.context, devcluster=options.devcluster, typed=typed)
    settings = {"kubeconfig": chosen, "kubeContext": options.context, "namespace": options.namespace}
    config = running_cluster_settings(settings, devcluster=options.devcluster)
    if config is None:
        yield None
        return
    kubeconfig = config["kubeconfig"]
    granted = grants(kubeconfig, None, options.context)
    process = Process(
        with_grants(ProcessSettings.read(os.environ), granted), journal=journal or NullJournal()
    )
    try:
        ports = process.ports(kubeconfig, config.get("kubeContext"))
        yield await job_namespace(config["namespace"], kubeconfig, ports), ports
    except RunFailure as failure:
        code = str(failure.failure.code)
        raise Stop("task_failed", failure.failure.message, error_code=code) from None
    finally:
        await process.shut_down()


def names_cluster(options: ClusterOptions) -> bool:
    """Whether an option or a default names a cluster, or this process runs in a Pod."""
    chosen = chosen_kubeconfig(options.kubeconfig, None, devcluster=options.devcluster)
    return options.devcluster or chosen is not None or "KUBERNETES_SERVICE_HOST" in os.environ


async def jobs_of_adapter(
    options: ClusterOptions, *, all_namespaces: bool = False
) -> tuple[str | None, tuple[JobSnapshot, ...]]:
    """The namespace, and the adapter's Jobs in it or in all namespaces.

    A development cluster that is not running has no Jobs.

    Raises:
        Stop: the Jobs could not be listed.
    """
    try:
        async with chosen_cluster(options) as cluster:
            if cluster is None:
                return options.namespace, ()
            namespace, ports = cluster
            where = ALL_NAMESPACES if all_namespaces else namespace
            return namespace, (await ports.cluster.list_jobs(where, labels.ALL_OURS)).items
    except ClusterError as error:
        raise cluster_stop("cannot list the Jobs", error) from None


def cluster_stop(problem: str, error: ClusterError, run_id: str | None = None) -> Stop:
    """The `Stop` of a command whose API server refuses or does not answer.

    `problem`: beginning of the message, such as "cannot list the Jobs".
    """
    fields = {"run_id": run_id} if run_id is not None else {}
    if error.no_response or error.foreign:
        return cluster_unreachable(f"{problem}: {error}", **fields)
    return Stop("task_failed", f"{problem}: {error}", **fields)
