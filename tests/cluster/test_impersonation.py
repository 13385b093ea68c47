"""A kubeconfig's `as` and related fields are sent as headers, or the kubeconfig is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.port import ClusterError


async def headers_of(folder: Path, user: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers with which requests of this kubeconfig's user are sent."""
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t", **user}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    credentials = Credentials(str(path))
    await credentials.load()
    return await credentials.headers()


async def test_identity_is_sent_with_groups_uid_and_extra(tmp_path: Path) -> None:
    user = {
        "as": "jane",
        "as-uid": "1-2",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"Reason": ["on call"], "acme.com/project": ["a", "b"]},
    }
    assert await headers_of(tmp_path, user) == [
        ("Authorization", "Bearer t"),
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Uid", "1-2"),
        ("Impersonate-Extra-reason", "on call"),
        ("Impersonate-Extra-acme.com%2Fproject", "a"),
        ("Impersonate-Extra-acme.com%2Fproject", "b"),
    ]


async def test_user_without_impersonation_sends_no_impersonation_header(tmp_path: Path) -> None:
    assert await headers_of(tmp_path, {}) == [("Authorization", "Bearer t")]


@pytest.mark.parametrize(
    "user",
    [
        {"as-groups": ["admins"]},
        {"as-uid": "7"},
        {"as": ["jane"]},
        {"as": {"name": "jane"}},
        {"as": "jane", "as-groups": "dev"},
        {"as": "jane", "as-groups": [["dev"]]},
        {"as": "jane", "as-user-extra": ["x"]},
        {"as": "jane", "as-user-extra": {"x": "y"}},
        {"as": "jane\r\nX-Evil: 1"},
        {"as": "j\u00e4ne"},
        {"as": "j" * 2000},
        {"as": "jane", "as-groups": ["g"] * 300},
    ],
)
async def test_identity_that_cannot_be_sent_makes_the_kubeconfig_unusable(
    tmp_path: Path, user: dict[str, Any]
) -> None:
    with pytest.raises(ClusterError) as refused:
        await headers_of(tmp_path, user)
    assert not refused.value.retryable
    assert "evil" not in str(refused.value).lower()
