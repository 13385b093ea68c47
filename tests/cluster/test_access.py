"""Which credentials are read without kubernetes_asyncio, and what is read from them."""

import asyncio
import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.api_server import a_kubeconfig

from paperclip_claude_k8s.cluster.access import (
    TOKEN_REREAD_SECONDS,
    ServerAccess,
    plain_access,
    service_account_access,
)
from paperclip_claude_k8s.cluster.credentials import library_access

ENV = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def a_service_account(folder: Path, **files: str) -> Path:
    for name, text in {"ca.crt": PEM, "token": "first", "namespace": "agents", **files}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def parsed(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return loaded


async def fields_of(access: ServerAccess) -> tuple[object, ...]:
    """The fields that a plain kubeconfig can set. The CA is returned as text, also if it is a file."""
    return (
        access.server.rstrip("/"),
        await access.authorization(),
        access.ca_text
        or (access.ca_file and await asyncio.to_thread(Path(access.ca_file).read_text, "utf-8")),
        access.verify,
        access.server_hostname,
        access.proxy,
        access.namespace,
    )


async def test_service_account_gives_address_authority_namespace_and_token(tmp_path: Path) -> None:
    access = service_account_access(ENV, a_service_account(tmp_path))
    assert access.server == "https://10.0.0.1:443"
    assert access.ca_file == str(tmp_path / "ca.crt")
    assert access.namespace == "agents"
    assert await access.authorization() == "Bearer first"


async def test_service_account_brackets_an_ipv6_address(tmp_path: Path) -> None:
    env = {**ENV, "KUBERNETES_SERVICE_HOST": "fd00::1"}
    assert service_account_access(env, a_service_account(tmp_path)).server == "https://[fd00::1]:443"


@pytest.mark.looptime
async def test_service_account_token_is_reread_after_a_minute(tmp_path: Path) -> None:
    access = service_account_access(ENV, a_service_account(tmp_path))
    a_service_account(tmp_path, token="second")
    assert await access.authorization() == "Bearer first"
    await asyncio.sleep(TOKEN_REREAD_SECONDS)
    assert await access.authorization() == "Bearer second"


@pytest.mark.looptime
async def test_service_account_token_unreadable_later_is_kept(tmp_path: Path) -> None:
    access = service_account_access(ENV, a_service_account(tmp_path))
    (tmp_path / "token").unlink()
    await asyncio.sleep(TOKEN_REREAD_SECONDS)
    assert await access.authorization() == "Bearer first"


@pytest.mark.parametrize("missing", ["ca.crt", "token"])
async def test_service_account_missing_or_empty_file_is_named(missing: str, tmp_path: Path) -> None:
    (a_service_account(tmp_path) / missing).unlink()
    with pytest.raises(OSError, match=missing):
        service_account_access(ENV, tmp_path)
    (tmp_path / missing).touch()
    with pytest.raises(LookupError, match="is empty"):
        service_account_access(ENV, tmp_path)


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"insecure-skip-tls-verify": True},
        {"certificate-authority-data": base64.b64encode(PEM.encode()).decode()},
        {"tls-server-name": "api.example", "proxy-url": "http://proxy:3128"},
    ],
)
@pytest.mark.parametrize("user", [{}, {"token": ""}, {"token": "canary"}])
async def test_plain_access_equals_what_the_library_reads(
    user: dict[str, str], cluster: dict[str, Any], tmp_path: Path
) -> None:
    path = a_kubeconfig(tmp_path, "https://api.example/", user=user, cluster=cluster)
    plain = plain_access(parsed(path))
    assert plain is not None
    assert await fields_of(plain) == await fields_of(await library_access(path, None))


@pytest.mark.parametrize(
    "user",
    [
        {"token": 7},
        {"tokenFile": "token"},
        {"token": "canary", "exec": {"command": "plugin"}},
        {"auth-provider": {"name": "oidc"}},
        {"username": "u", "password": "p"},
        {"token": "canary", "client-certificate": "crt"},
    ],
)
def test_plain_access_is_none_for_user_fields_it_cannot_read(user: dict[str, Any], tmp_path: Path) -> None:
    assert plain_access(parsed(a_kubeconfig(tmp_path, user=user))) is None


@pytest.mark.parametrize(
    "cluster",
    [
        {"certificate-authority": "ca.crt"},
        {"certificate-authority-data": "not base64"},
        {"insecure-skip-tls-verify": "true"},
        {"server": 7},
    ],
)
def test_plain_access_is_none_for_cluster_fields_it_cannot_read(
    cluster: dict[str, Any], tmp_path: Path
) -> None:
    path = a_kubeconfig(tmp_path, user={"token": "canary"}, cluster=cluster)
    assert plain_access(parsed(path)) is None


def test_plain_access_is_none_for_a_duplicate_name(tmp_path: Path) -> None:
    kubeconfig = parsed(a_kubeconfig(tmp_path, user={"token": "canary"}))
    assert plain_access(kubeconfig) is not None
    assert plain_access({**kubeconfig, "users": kubeconfig["users"] * 2}) is None


def test_plain_kubeconfig_does_not_import_the_library(tmp_path: Path) -> None:
    path = a_kubeconfig(tmp_path, user={"token": "canary"})
    script = (
        "import asyncio, sys; from paperclip_claude_k8s.cluster.credentials import Credentials; "
        f"asyncio.run(Credentials({path!r}).load()); sys.exit('kubernetes_asyncio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
