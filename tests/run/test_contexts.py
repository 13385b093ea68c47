"""The settings `kubeconfig` and `kubeContext`: the cluster and namespace they select, and policies."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.api_server import serving, write_kubeconfig
from tests.support.home_cluster import home_cluster

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.kubeconfig import ClusterSource
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.devcluster.kinds import NAMESPACES
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.testing import NAMESPACE, HostLog, build_context

IMPATIENT = Timings(retry_budget=0.1)


async def result_of(policy: Policy | None = None, **config: Any) -> ExecutionResult:
    adapter = Adapter(ProcessSettings(policy=policy or Policy(), timings=IMPATIENT))
    try:
        return await adapter.execute(build_context(HostLog(), config={"image": "i", **config}))
    finally:
        await adapter.shutdown()


def write_two_contexts(folder: Path, server: str = "http://127.0.0.1:1") -> str:
    contexts = [{"name": name, "context": {"cluster": "here", "user": "me"}} for name in ("here", "other")]
    return write_kubeconfig(folder, server, contexts=contexts)


async def test_each_context_of_a_kubeconfig_has_its_own_connection_and_locks() -> None:
    sources: list[ClusterSource] = []

    def connect(source: ClusterSource, _: ProcessSettings) -> Cluster:
        sources.append(source)
        return Gateway(source.kubeconfig)

    process = Process(ProcessSettings(), connect)
    kubeconfigs_and_contexts = [("/k", None), ("/k", "a"), ("/k", "b"), ("/k", "a"), (None, None)]
    ports = [process.ports(*pair) for pair in kubeconfigs_and_contexts]
    assert ports[1] is ports[3]
    assert sources == [
        ClusterSource("/k"),
        ClusterSource("/k", "a"),
        ClusterSource("/k", "b"),
        ClusterSource(None),
    ]
    locks = [each.slot_locks(NAMESPACE) for each in ports]
    assert len({id(lock) for lock in locks}) == 4
    assert locks[1] is locks[3]
    assert len({id(each.informer(NAMESPACE)) for each in ports}) == 4


async def test_config_with_a_context_but_no_kubeconfig_is_invalid() -> None:
    result = await result_of(kubeconfig=None, kubeContext="here")
    assert result.error_code == "k8s_config_invalid"
    assert "kubeContext needs kubeconfig" in (result.error_message or "")


async def test_unknown_context_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    result = await result_of(kubeconfig=write_two_contexts(tmp_path), kubeContext="absent")
    assert result.error_code == "k8s_config_invalid"
    assert "its contexts are 'here', 'other'" in (result.error_message or "")


CURRENT = None
"""The config names no context; the kubeconfig's current context is `here`."""


@pytest.mark.parametrize(
    ("allowed", "context", "refused"),
    [
        (("*",), CURRENT, False),
        (("other",), CURRENT, True),
        (("other",), "here", True),
        (("oth*",), "other", False),
        ((), "other", True),
    ],
)
async def test_policy_restricts_the_contexts(
    allowed: tuple[str, ...],
    context: str | None,
    refused: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    config = {"kubeContext": context} if context else {}
    result = await result_of(Policy(kube_contexts=allowed), kubeconfig=write_two_contexts(tmp_path), **config)
    assert (result.error_code == "k8s_policy_refused") is refused
    assert ("kubeContexts" in (result.error_message or "")) is refused


@pytest.mark.parametrize("named", ["none", "one", "both"])
async def test_policy_must_name_all_kubeconfigs_of_a_config(named: str, tmp_path: Path) -> None:
    """A file of the config's author must not name a server for the credentials in another file."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    paths = [write_kubeconfig(tmp_path / folder) for folder in ("a", "b")]
    policy = {
        "none": Policy(),
        "one": Policy(kubeconfigs=(paths[1],)),
        "both": Policy(kubeconfigs=(str(tmp_path),)),
    }[named]
    result = await result_of(policy, kubeconfig=":".join(paths))
    assert (result.error_code == "k8s_policy_refused") is (named != "both")
    assert ("kubeconfigs" in (result.error_message or "")) is (named != "both")


class ContextCluster:
    """The gateway of a cluster, except that the kubeconfig's context names the namespace `of-context`."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def default_namespace(self) -> str:
        return "of-context"


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("config", "namespace"),
    [
        ({"kubeconfig": "/k"}, "of-context"),
        ({"kubeconfig": "/k", "namespace": "named"}, "named"),
        ({"kubeconfig": None}, NAMESPACE),
    ],
)
async def test_namespace_of_the_context_is_the_default_only_with_a_kubeconfig(
    config: dict[str, str | None], namespace: str, tmp_path: Path
) -> None:
    """Without a kubeconfig the namespace is the home pod's, which PAPERCLIP_NAMESPACE names."""
    env = {"PAPERCLIP_NAMESPACE": NAMESPACE, "HOSTNAME": "home-0"}
    async with home_cluster(tmp_path) as home:
        for name in ("of-context", "named"):
            home.fake.store.create(NAMESPACES, {"metadata": {"name": name}})
        cluster: Any = ContextCluster(home.fake.gateway)
        adapter = Adapter(ProcessSettings(env=env), lambda *_: cluster)
        checkup = await adapter.test_environment({"config": {"image": "own/image:1", **config}})
        await adapter.shutdown()
    shown = [check.message for check in checkup.checks if check.code.startswith("k8s_namespace")]
    assert shown
    assert namespace in shown[0]


@pytest.mark.parametrize(
    ("kubeconfig", "code", "hint"),
    [
        ("missing", "k8s_config_invalid", None),
        ("socks", "k8s_config_invalid", None),
        ("page", "k8s_api_unreachable", "what answered is not the API server"),
    ],
)
async def test_check_distinguishes_unusable_kubeconfigs_from_unreachable_servers(
    kubeconfig: str, code: str, hint: str | None, tmp_path: Path
) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(status=403, text="<html><title>Sign in</title>", content_type="text/html")

    async with serving(page) as url:
        cluster = {"proxy-url": "socks5://h"} if kubeconfig == "socks" else {}
        path = write_kubeconfig(tmp_path, url, cluster=cluster)
        config = {"kubeconfig": "/nowhere/config" if kubeconfig == "missing" else path, "image": "i"}
        adapter = Adapter(ProcessSettings(timings=IMPATIENT))
        try:
            checkup = await adapter.test_environment({"config": config})
        finally:
            await adapter.shutdown()
    assert [check.code for check in checkup.checks] == [code]
    assert hint is None or hint in (checkup.checks[0].hint or "")
