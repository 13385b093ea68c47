"""How the development cluster responds to requests of `kubectl get all`, `api-resources` and `exec`."""

from pathlib import Path

import pytest
from tests.support.in_memory_runs import GOOD

from paperclip_claude_k8s.devcluster.api import Request
from paperclip_claude_k8s.devcluster.discovery import discover
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.target import parse_target
from paperclip_claude_k8s.testing import FakeCluster


@pytest.mark.parametrize(("path", "name"), [("/api/v1", "pods"), ("/apis/batch/v1", "jobs")])
def test_pods_and_jobs_are_in_the_category_all(path: str, name: str) -> None:
    found = discover(path)
    assert found is not None
    (resource,) = (item for item in found["resources"] if item["name"] == name)
    assert resource["categories"] == ["all"]


def test_authorization_group_has_one_resource_that_supports_only_create() -> None:
    found = discover("/apis/authorization.k8s.io/v1")
    assert found is not None
    assert [item["verbs"] for item in found["resources"]] == [["create"]]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("connection", ["exec", "attach", "portforward"])
async def test_connection_to_a_pod_is_refused_in_clear_words(
    tmp_path: Path, method: str, connection: str
) -> None:
    path = f"/api/v1/namespaces/paperclip/pods/p/{connection}"
    async with FakeCluster.start(tmp_path, GOOD) as fake:
        with pytest.raises(Problem, match=f"the development cluster has no {connection}") as raised:
            fake.api.respond(path, parse_target(path), Request(method, {}, None, "", ""))
    assert raised.value.code == 501
