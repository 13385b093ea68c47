"""A service account on the real cluster, with all or some of the rights that `claude-k8s rbac` prints."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tests.support.programs import as_admin
from tests.support.real_cluster import wait_until
from tests.support.real_namespace import NAMESPACE

from paperclip_claude_k8s.checks.rights import Right, rights_of
from paperclip_claude_k8s.checks.role import RBAC_GROUP, Account, access_objects, role
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import Access


@dataclass(frozen=True, slots=True)
class RealAccount:
    """A service account, and a kubeconfig with its token."""

    name: str
    kubeconfig: str

    async def grant(self, rights: Iterable[Right]) -> None:
        """Replace the account's Role and wait until the API server applies it."""
        rights = list(rights)
        wanted = {**role(NAMESPACE, rights), "metadata": {"name": self.name, "namespace": NAMESPACE}}
        await as_admin("replace", "-f", "-", stdin=json.dumps(wanted))
        await wait_until(partial(self._has, {right.access for right in rights}))

    async def _has(self, granted: Collection[Access]) -> bool:
        """Whether the account has these rights, and no others that runs use.

        The API server's authorizer gets changed Roles from a watch, so it applies them a moment later.
        """
        known = {right.access for right in rights_of(auto_claims=True)}
        gateway = Gateway(self.kubeconfig)
        try:
            async with asyncio.TaskGroup() as group:
                answers = {
                    access: group.create_task(gateway.may(NAMESPACE, access))
                    for access in known | set(granted)
                }
        finally:
            await gateway.close()
        return all(answer.result() is (access in granted) for access, answer in answers.items())


@asynccontextmanager
async def open_account(name: str, folder: Path, *, auto_claims: bool = False) -> AsyncIterator[RealAccount]:
    """Create the account with the printed Role. `folder`: where its kubeconfig is written."""
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects(name, auto_claims)})
    await as_admin("apply", "-f", "-", stdin=everything)
    try:
        path = folder / "kubeconfig"
        path.write_text(_with_token(await _token(name)), encoding="utf-8")
        path.chmod(0o600)
        yield RealAccount(name, str(path))
    finally:
        await as_admin("delete", "--ignore-not-found", "-f", "-", stdin=everything)


def _objects(name: str, auto_claims: bool) -> list[dict[str, Any]]:  # noqa: FBT001
    account = Account(NAMESPACE, name)
    printed_role, binding = map(dict, access_objects(NAMESPACE, account, auto_claims=auto_claims))
    meta = {"name": name, "namespace": NAMESPACE}
    binding["roleRef"] = {"apiGroup": RBAC_GROUP, "kind": "Role", "name": name}
    printed_role["metadata"] = binding["metadata"] = meta
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {**meta, "annotations": {"kubernetes.io/service-account.name": name}},
    }
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}, token, printed_role, binding]


async def _token(name: str) -> str:
    async with asyncio.timeout(120):
        while True:  # until the token controller has added a token to the Secret
            token = await as_admin(
                "get", "secret", name, "-o", "go-template={{with .data.token}}{{.}}{{end}}"
            )
            if token:
                return base64.b64decode(token).decode()


def _with_token(token: str) -> str:
    """The kubeconfig of the tests with the token of another account."""
    config = yaml.safe_load(Path(os.environ["KUBECONFIG_FOR_TESTS"]).read_text(encoding="utf-8"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    return str(yaml.safe_dump(config))
