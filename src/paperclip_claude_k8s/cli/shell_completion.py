"""Completes words for the shell: runs, Jobs, namespaces, contexts and the words of `explain`.

The functions print nothing and raise nothing. If something cannot be read, the shell offers fewer words.
Files and the cluster have `time_limit` seconds, so that a disk or a cluster that does not answer does not
block the prompt.

Shells evaluate what they get: zsh would run commands in it. So only words of harmless characters are offered.
"""

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import typer

TIME_LIMIT = 1.5
"""Seconds that a completion waits for the cluster, or for files, by default."""
TIME_LIMIT_VARIABLE = "CLAUDE_K8S_COMPLETION_SECONDS"
"""Environment variable that names another number of seconds."""
MAX_TIME_LIMIT = 60.0
"""Largest number of seconds that the variable may name: nobody waits longer for a prompt."""
MAX_RECORDS = 100
"""Largest number of records that are read for a completion, newest first."""
MAX_KUBECONFIG_BYTES = 1024 * 1024
MAX_DESCRIPTION = 200
"""Largest number of characters that are shown beside a word."""
T = TypeVar("T")
Suggestion = tuple[str, str]
"""A word, and the description that the shell shows beside the word."""
_WORD = re.compile(r"[\w.@:/+][\w.@:/+=%,-]{0,252}", re.ASCII)
"""Names of objects, ids, and the names that tools of cloud providers give to contexts."""
_UNSAFE = re.compile(r"[^\w .,:@/+-]", re.ASCII)
"""A character that is replaced in descriptions."""


def complete_run(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Ids of recorded runs, then ids and names of Jobs on the cluster."""
    found = dict(_or_nothing(_recorded_runs))
    for word, description in _or_nothing(lambda: _read_cluster(ctx, _cluster_runs)):
        found.setdefault(word, description)
    return _suggestions(incomplete, list(found.items()))


def complete_recorded_run(incomplete: str) -> list[Suggestion]:
    """Ids of recorded runs, which `run --run-id` continues."""
    return _suggestions(incomplete, _or_nothing(_recorded_runs))


def complete_namespace(ctx: typer.Context, incomplete: str) -> list[str]:
    """Namespaces of the cluster, if this account may list them."""
    return _offered(incomplete, _or_nothing(lambda: _read_cluster(ctx, _namespaces)))


def complete_context(ctx: typer.Context, incomplete: str) -> list[str]:
    """Contexts of the kubeconfig."""
    return _offered(incomplete, _or_nothing(lambda: _contexts(ctx.params)))


def complete_word(incomplete: str) -> list[str]:
    """Words that `explain` knows: settings, error codes, codes of `check`, labels, ..."""

    def known() -> list[str]:
        from paperclip_claude_k8s.cli.explain_command import known_words  # noqa: PLC0415  # only needed here

        return known_words()

    return _offered(incomplete, _or_nothing(known))


def time_limit(env: Mapping[str, str]) -> float:
    """Seconds that a completion waits. Values of the variable that are no positive numbers are ignored."""
    try:
        seconds = float(env[TIME_LIMIT_VARIABLE])
    except (KeyError, ValueError):
        return TIME_LIMIT
    return min(seconds, MAX_TIME_LIMIT) if seconds > 0 else TIME_LIMIT


def _offered(incomplete: str, found: list[str]) -> list[str]:
    """The words that begin with `incomplete` and consist of harmless characters."""
    return [word for word in found if word.startswith(incomplete) and _WORD.fullmatch(word)]


def _suggestions(incomplete: str, found: list[Suggestion]) -> list[Suggestion]:
    offered = set(_offered(incomplete, [word for word, _ in found]))
    return [
        (word, _UNSAFE.sub("?", description[:MAX_DESCRIPTION]))
        for word, description in found
        if word in offered
    ]


def _or_nothing(work: Callable[[], list[T]]) -> list[T]:
    """The words that `work` returns; none if it raises or takes too long."""
    found = list[T]()

    def keep() -> None:
        with suppress(Exception):  # an error cannot be shown in the middle of a prompt
            found.extend(work())

    working = Thread(target=keep, daemon=True)  # a read of a dead disk cannot be cancelled
    working.start()
    working.join(time_limit(os.environ) + 0.5)  # the cluster's own limit comes first
    return list(found)


def _recorded_runs() -> list[Suggestion]:
    # imported here, because the completion of options needs neither
    from paperclip_claude_k8s.cli.runs.record import Record  # noqa: PLC0415
    from paperclip_claude_k8s.cli.runs.state import State, state_folder  # noqa: PLC0415

    records = State(state_folder(os.environ)).all()[:MAX_RECORDS]
    return [
        (record.run_id, f"{record.status}, agent {record.request['agent'].get('id')}, {record.created}")
        for record in records
        if isinstance(record, Record)
    ]


def _read_cluster(ctx: typer.Context, read: Callable[[Any, str, Any], Awaitable[list[T]]]) -> list[T]:
    """The words that `read` finds, within `time_limit`, in the cluster that the options typed so far name."""
    import asyncio  # noqa: PLC0415  # help has to be fast

    from paperclip_claude_k8s.cli.chosen_cluster import chosen_cluster  # noqa: PLC0415
    from paperclip_claude_k8s.cli.command_options import ClusterOptions  # noqa: PLC0415

    given = {name: ctx.params.get(name) for name in ("kubeconfig", "context", "namespace")}
    options = ClusterOptions(devcluster=bool(ctx.params.get("devcluster")), **given)  # type: ignore[arg-type]

    async def connect_and_read() -> list[T]:
        async with asyncio.timeout(time_limit(os.environ)), chosen_cluster(options) as cluster:
            if cluster is None:
                return []
            namespace, ports = cluster
            return await read(ports, namespace, ctx.params)

    return asyncio.run(connect_and_read())


async def _cluster_runs(ports: Any, namespace: str, params: Any) -> list[Suggestion]:  # noqa: ANN401
    from paperclip_claude_k8s.cluster import labels  # noqa: PLC0415

    where = "" if params.get("all_namespaces") else namespace
    jobs = (await ports.cluster.list_jobs(where, labels.ALL_OURS)).items
    agents = [f"agent {job.labels.get(labels.AGENT_LABEL, '')}" for job in jobs]
    runs = [job.labels.get(labels.RUN_LABEL, "") for job in jobs]
    names = [job.ref.name for job in jobs]
    return [(word, agent) for word, agent in zip([*runs, *names], [*agents, *agents], strict=True) if word]


async def _namespaces(ports: Any, _namespace: str, _params: Any) -> list[str]:  # noqa: ANN401
    found: tuple[str, ...] = await ports.cluster.list_namespaces()
    return sorted(found)


def _contexts(params: Any) -> list[str]:  # noqa: ANN401
    from paperclip_claude_k8s.cli.kubeconfig_choice import chosen_kubeconfig  # noqa: PLC0415
    from paperclip_claude_k8s.cluster.kubeconfig_yaml import parse_kubeconfig  # noqa: PLC0415

    given, names = params.get("kubeconfig"), list[str]()
    chosen = chosen_kubeconfig(Path(given) if given else None, None, devcluster=False)
    for path in (chosen or "").split(os.pathsep):
        if not os.path.isfile(path):  # noqa: PTH113  # "" too; a pipe would hold up the prompt
            continue
        with open(path, "rb") as file:  # noqa: PTH123
            content = parse_kubeconfig(file.read(MAX_KUBECONFIG_BYTES))
        names += [str(context["name"]) for context in content.get("contexts") or []]
    return names
