"""What is read from a Pod's service account and from kubeconfigs, compared with kubernetes_asyncio."""

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import write_kubeconfig

from paperclip_claude_k8s.base.settings import Limits, Timings
from paperclip_claude_k8s.cluster.access import (
    TOKEN_REREAD_SECONDS,
    ServerAccess,
    bound_pod,
    kubeconfig_access,
    service_account_access,
)
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigReader, KubeconfigRules

ENV = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
TIMINGS = Timings()
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def write_service_account(folder: Path, **files: str) -> Path:
    for name, text in {"ca.crt": PEM, "token": "first", "namespace": "agents", **files}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


async def our_access(path: str) -> ServerAccess:
    rules = KubeconfigRules(trusted=True)
    reader = KubeconfigReader(rules, Limits(), TIMINGS)
    return await kubeconfig_access(await reader.read(path), reader, rules, TIMINGS)


async def fields_of(access: ServerAccess) -> tuple[object, ...]:
    header = await access.authorization()
    client = (access.client_text or "").replace("\n", "")
    return access.server.rstrip("/"), header, access.ca_text, client, access.verify, access.proxy


async def library_fields(path: str) -> tuple[object, ...]:
    """The fields of `fields_of`, as the client library kubernetes_asyncio reads them."""
    from kubernetes_asyncio import client, config  # noqa: PLC0415  # takes long

    loaded: Any = client.Configuration()
    await config.load_kube_config(path, client_configuration=loaded)

    def content(path: str | None) -> str | None:
        return None if path is None else Path(path).read_text("utf-8")

    pems = [
        await asyncio.to_thread(content, path)
        for path in (loaded.ssl_ca_cert, loaded.cert_file, loaded.key_file)
    ]
    client_text = "".join(text or "" for text in pems[1:]).replace("\n", "")
    header = loaded.api_key.get("BearerToken")
    return (
        loaded.host.rstrip("/"),
        header,
        pems[0],
        client_text,
        loaded.verify_ssl,
        getattr(loaded, "proxy", None),
    )


async def test_service_account_gives_address_authority_namespace_and_token(tmp_path: Path) -> None:
    access = await service_account_access(ENV, TIMINGS, write_service_account(tmp_path))
    assert access.server == "https://10.0.0.1:443"
    assert access.ca_text == PEM.strip()
    assert access.namespace == "agents"
    assert await access.authorization() == "Bearer first"


async def test_service_account_brackets_an_ipv6_address(tmp_path: Path) -> None:
    env = {**ENV, "KUBERNETES_SERVICE_HOST": "fd00::1"}
    assert (
        await service_account_access(env, TIMINGS, write_service_account(tmp_path))
    ).server == "https://[fd00::1]:443"


@pytest.mark.looptime
async def test_service_account_token_is_reread_after_a_minute(tmp_path: Path) -> None:
    access = await service_account_access(ENV, TIMINGS, write_service_account(tmp_path))
    write_service_account(tmp_path, token="second")
    assert await access.authorization() == "Bearer first"
    await asyncio.sleep(TOKEN_REREAD_SECONDS)
    assert await access.authorization() == "Bearer second"


@pytest.mark.looptime
async def test_service_account_token_is_kept_if_its_file_becomes_unreadable(tmp_path: Path) -> None:
    access = await service_account_access(ENV, TIMINGS, write_service_account(tmp_path))
    (tmp_path / "token").unlink()
    await asyncio.sleep(TOKEN_REREAD_SECONDS)
    assert await access.authorization() == "Bearer first"


@pytest.mark.parametrize("missing", ["ca.crt", "token"])
async def test_missing_or_empty_file_of_a_service_account_is_named(missing: str, tmp_path: Path) -> None:
    (write_service_account(tmp_path) / missing).unlink()
    with pytest.raises(LookupError, match=missing):
        await service_account_access(ENV, TIMINGS, tmp_path)
    (tmp_path / missing).touch()
    with pytest.raises(LookupError, match="is empty"):
        await service_account_access(ENV, TIMINGS, tmp_path)


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"insecure-skip-tls-verify": True},
        {"certificate-authority-data": base64.b64encode(PEM.encode()).decode()},
        {"certificate-authority": "ca.crt"},
        {"tls-server-name": "api.example", "proxy-url": "http://proxy:3128"},
    ],
)
@pytest.mark.parametrize(
    "user",
    [
        {},
        {"token": ""},
        {"token": "canary"},
        {"tokenFile": "token"},
        {"username": "u", "password": "p"},
        {"token": "canary", "username": "u", "password": "p"},
        {"client-certificate": "ca.crt", "client-key": "key"},
        {"client-certificate-data": base64.b64encode(PEM.encode()).decode(), "client-key": "key"},
    ],
)
async def test_access_equals_what_the_kubernetes_client_library_reads(
    user: dict[str, str], cluster: dict[str, Any], tmp_path: Path
) -> None:
    for name, text in {"ca.crt": PEM, "token": "from-file", "key": PEM.replace("CERTIFICATE", "KEY")}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    path = write_kubeconfig(tmp_path, "https://api.example/", user=user, cluster=cluster)
    assert await fields_of(await our_access(path)) == await library_fields(path)


@pytest.mark.looptime
async def test_token_file_is_reread_after_a_minute(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first", encoding="utf-8")
    access = await our_access(write_kubeconfig(tmp_path, user={"tokenFile": "token"}))
    (tmp_path / "token").write_text("second", encoding="utf-8")
    assert await access.authorization() == "Bearer first"
    await asyncio.sleep(TOKEN_REREAD_SECONDS)
    assert await access.authorization() == "Bearer second"


def test_kubeconfig_with_a_token_does_not_import_the_client_library(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, user={"token": "canary"})
    script = (
        "import asyncio, sys; from paperclip_claude_k8s.cluster.credentials import Credentials; "
        f"asyncio.run(Credentials({path!r}).load()); sys.exit('kubernetes_asyncio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("claims", "pod"),
    [
        ({"kubernetes.io": {"namespace": "ns", "pod": {"name": "paperclip-0", "uid": "u"}}}, "paperclip-0"),
        ({"kubernetes.io": {"namespace": "ns"}}, ""),
        ({"kubernetes.io": "odd"}, ""),
        ([], ""),
    ],
)
async def test_pod_name_is_read_from_the_claims_of_the_token(tmp_path: Path, claims: Any, pod: str) -> None:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    folder = write_service_account(tmp_path)
    (folder / "token").write_text(f"e30.{payload}.c2ln")
    assert (await service_account_access(ENV, TIMINGS, folder)).pod == pod


@pytest.mark.parametrize(
    "header", ["", "Bearer abc", "Bearer a.b", "Bearer a.!!!.c", "Bearer a.gA.c", "Bearer ..."]
)
def test_token_that_is_not_a_jwt_names_no_pod(header: str) -> None:
    assert bound_pod(header) == ""
