"""A config author's kubeconfig runs no forbidden program, sends no file of the host, and delays no run."""

import asyncio
import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import write_kubeconfig

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigRules
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog, build_context

API_VERSION = "client.authentication.k8s.io/v1"
ALL_PROGRAMS = KubeconfigRules(may_run=lambda _: True)
MAX_LAG = 0.5
"""Seconds for which the event loop may be blocked."""
ATTEMPTS = 3
"""How often the blocking is measured at most: a busy machine may stop this process for longer."""
ANY_MESSAGE = ""


def write_plugin(folder: Path, script: str, **more: Any) -> dict[str, Any]:
    """Write an exec plugin; return a kubeconfig's user that runs it."""
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": API_VERSION, "command": str(program), **more}}


async def result_of(kubeconfig: str, policy: Policy | None = None) -> ExecutionResult:
    timings = Timings(retry_budget=0.1)
    adapter = Adapter(ProcessSettings(policy=policy or Policy(), timings=timings))
    try:
        return await adapter.execute(
            build_context(HostLog(), config={"image": "i", "kubeconfig": kubeconfig})
        )
    finally:
        await adapter.shutdown()


async def error_of(kubeconfig: str, rules: KubeconfigRules = ALL_PROGRAMS, **timings: float) -> ClusterError:
    """The error of loading the credentials, raised quickly and without blocking the event loop."""
    began = time.monotonic()
    for attempt in range(ATTEMPTS):
        error, longest_block = await _error_and_block(kubeconfig, rules, Timings(**timings))
        if longest_block <= MAX_LAG:
            break
        assert attempt < ATTEMPTS - 1, f"the event loop was blocked for {longest_block:.1f} s"
    assert time.monotonic() - began <= 10 * ATTEMPTS
    assert len(error.message) < 2000
    return error


async def _error_and_block(
    kubeconfig: str, rules: KubeconfigRules, timings: Timings
) -> tuple[ClusterError, float]:
    """The error of loading, and the longest time in seconds for which the event loop was blocked."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        with pytest.raises(ClusterError) as caught:
            await Credentials(kubeconfig, rules, timings=timings).load()
        ticking.cancel()
    return caught.value, longest


async def test_plugin_is_not_run_without_permission(tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path, user=write_plugin(tmp_path, f"touch {tmp_path}/ran"))
    result = await result_of(kubeconfig)
    assert result.error_code == "k8s_policy_refused"
    for text in (kubeconfig, f"{tmp_path}/plugin", "execPlugins"):
        assert text in (result.error_message or "")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["gcp", "azure", "oidc", "exec"])
async def test_auth_provider_is_refused_without_permission(name: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    config = {"cmd-path": "/usr/bin/touch", "cmd-args": str(ran), "idp-issuer-url": "http://127.0.0.1:1"}
    kubeconfig = write_kubeconfig(tmp_path, user={"auth-provider": {"name": name, "config": config}})
    assert (await result_of(kubeconfig)).error_code in {"k8s_policy_refused", "k8s_config_invalid"}
    assert not ran.exists()


async def test_gcp_auth_provider_runs_nothing_even_with_permission(tmp_path: Path) -> None:
    config = {"cmd-path": "/usr/bin/touch", "cmd-args": f"{tmp_path}/ran"}
    kubeconfig = write_kubeconfig(tmp_path, user={"auth-provider": {"name": "gcp", "config": config}})
    assert "other than oidc" in (await error_of(kubeconfig)).message
    assert not (tmp_path / "ran").exists()


async def test_link_to_a_kubeconfig_that_the_policy_does_not_allow_is_refused(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(write_kubeconfig(tmp_path))
    result = await result_of(str(allowed / "link"), Policy(kubeconfigs=(str(allowed),)))
    assert result.error_code == "k8s_policy_refused"
    assert "kubeconfigs" in (result.error_message or "")


async def test_plugin_gets_no_secret_of_the_host(tmp_path: Path) -> None:
    """A host has its secrets in its environment; here the test's own environment has them."""
    user = write_plugin(tmp_path, f"env > {tmp_path}/env; exit 1", env=[{"name": "OWN", "value": "own"}])
    os.environ["BETTER_AUTH_SECRET"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "canary"
    try:
        await error_of(write_kubeconfig(tmp_path, user=user))
    finally:
        del os.environ["BETTER_AUTH_SECRET"], os.environ["AWS_SECRET_ACCESS_KEY"]
    given = (tmp_path / "env").read_text(encoding="utf-8")
    assert "canary" not in given
    assert "OWN=own" in given
    assert "KUBERNETES_EXEC_INFO=" in given


async def test_plugin_gets_the_variables_that_the_policy_names(tmp_path: Path) -> None:
    user = write_plugin(tmp_path, f"env > {tmp_path}/env; exit 1")
    os.environ["BETTER_AUTH_SECRET"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "canary"
    policy = Policy(exec_plugins=("*",), exec_plugin_variables=("AWS_*",))
    try:
        result = await result_of(write_kubeconfig(tmp_path, user=user), policy)
    finally:
        del os.environ["BETTER_AUTH_SECRET"], os.environ["AWS_SECRET_ACCESS_KEY"]
    given = (tmp_path / "env").read_text(encoding="utf-8")
    assert "AWS_SECRET_ACCESS_KEY=canary" in given
    assert "BETTER_AUTH_SECRET" not in given
    assert "execPluginVariables" in (result.error_message or "")


async def test_plugin_of_a_trusted_kubeconfig_may_set_path(tmp_path: Path) -> None:
    answer = f'{{"apiVersion": "{API_VERSION}", "status": {{"token": "t"}}}}'
    user = write_plugin(tmp_path, f"echo '{answer}'", env=[{"name": "PATH", "value": "/usr/bin:/bin"}])
    rules = KubeconfigRules(may_run=lambda _: True, trusted=True)
    credentials = Credentials(write_kubeconfig(tmp_path, user=user), rules)
    await credentials.load()
    assert await credentials.headers() == [("Authorization", "Bearer t")]


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "LD_PRELOAD",
        "ld_audit",
        "PYTHONPATH",
        "BASH_ENV",
        "NODE_OPTIONS",
        "OPENSSL_CONF",
        "GIT_SSH",
        "",
    ],
)
async def test_plugin_with_a_variable_that_loads_other_code_is_refused(name: str, tmp_path: Path) -> None:
    user = write_plugin(tmp_path, f"touch {tmp_path}/ran", env=[{"name": name, "value": str(tmp_path)}])
    assert "must not set" in (await error_of(write_kubeconfig(tmp_path, user=user))).message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("yes", "printed more than"),
        ("yes >&2", "printed more than"),
        ("sleep 60", "did not end in time"),
        ("sleep 60 & exit 0", "did not end in time"),
        ("exec >&- 2>&-; sleep 60", "did not end in time"),
        ("cat; exit 3", "ended with code 3"),
        ("kill -9 $$", "ended with code -9"),
        ("echo '[1]'", "not an ExecCredential"),
        ("printf '\\033]0;x\\007' >&2; exit 1", "ended with code 1"),
        (f"""echo '{{"apiVersion": "{API_VERSION}", "status": {{"token": "a b"}}}}'""", "not a token"),
        (f"""echo '{{"apiVersion": "{API_VERSION}", "status": {{}}}}'""", "neither a token"),
    ],
)
async def test_odd_plugin_is_an_error(script: str, why: str, tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path, user=write_plugin(tmp_path, script))
    error = await error_of(kubeconfig, exec_plugin=1.0)
    assert why in error.message
    assert "\x1b" not in error.message


async def test_stderr_of_a_plugin_is_cut_and_masked(tmp_path: Path) -> None:
    rules = KubeconfigRules(may_run=lambda _: True, mask=lambda text: text.replace("canary", "***"))
    user = write_plugin(tmp_path, "for n in $(seq 2000); do echo canary >&2; done; exit 1")
    message = (await error_of(write_kubeconfig(tmp_path, user=user), rules)).message
    assert "canary" not in message
    assert len(message) < 1000


@pytest.mark.parametrize(
    "name", ["/proc/self/environ", "/etc/hostname", "../secret", "link", "/dev/zero", "fifo", "."]
)
async def test_token_file_outside_the_kubeconfigs_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("canary", encoding="utf-8")
    (folder / "link").symlink_to("../secret")
    os.mkfifo(folder / "fifo")
    error = await error_of(write_kubeconfig(folder, user={"tokenFile": name}))
    assert "tokenFile" in error.message
    assert "canary" not in error.message


@pytest.mark.parametrize(
    "content", ["two\nlines", "root:x:0 0", "", "x" * 20_000, "\x00\x01", "-----BEGIN KEY-----\nA"]
)
async def test_file_that_is_no_token_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(content, encoding="utf-8")
    rules = KubeconfigRules(trusted=True)
    error = await error_of(write_kubeconfig(tmp_path, user={"tokenFile": "file"}), rules)
    assert "not a token" in error.message


async def test_trusted_kubeconfig_may_name_a_token_file_in_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    path = write_kubeconfig(folder, user={"tokenFile": "../token"})
    credentials = Credentials(path, KubeconfigRules(trusted=True))
    await credentials.load()
    assert await credentials.headers() == [("Authorization", "Bearer secret")]


@pytest.mark.parametrize("field", ["certificate-authority", "client-certificate", "client-key"])
@pytest.mark.parametrize("name", ["/proc/self/environ", "/dev/zero", "fifo", "/etc/passwd", "sparse"])
async def test_odd_certificate_file_is_an_error(field: str, name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    (tmp_path / "crt").write_text("-----BEGIN CERTIFICATE-----", encoding="utf-8")
    part = "cluster" if field == "certificate-authority" else "user"
    fields = {field: name} if part == "cluster" else {"client-certificate": "crt", field: name}
    error = await error_of(write_kubeconfig(tmp_path, "https://127.0.0.1:1", **{part: fields}))
    assert "root:" not in error.message  # from /etc/passwd


async def test_encrypted_key_asks_for_no_password(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:abcd", "-subj", "/CN=x"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    await asyncio.to_thread(subprocess.run, [*command, *files], check=True, capture_output=True)
    user = {"client-certificate": "crt", "client-key": "key"}
    assert (
        "not valid" in (await error_of(write_kubeconfig(tmp_path, "https://127.0.0.1:1", user=user))).message
    )


def _alias_bomb() -> str:
    lines = ["clusters: [{name: a}]", "current-context: b", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (_alias_bomb(), "aliases"),
        ("a: [" + "1," * 500_000 + "]", "too many values"),
        ("a: 1\n" * 200_000, "too many values"),
        ("[" * 100_000, ANY_MESSAGE),
        ("- " * 100_000, "too deeply"),
        ("a: " + ":".join(["1"] * 100_000), "no clusters"),
        ("!!python/object/apply:os.system ['id']", "tags"),
        ("a: !!int " + "1:" * 100_000 + "1", "tags"),
        ("x" * (1024 * 1024 + 1), "more than 1048576 bytes"),
    ],
)
async def test_yaml_that_is_too_large_or_unsafe_is_an_error(content: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content, encoding="utf-8")
    assert why in (await error_of(str(path))).message


@pytest.mark.parametrize(
    "name", ["/dev/zero", "/dev/stdin", "/proc/self/environ", "fifo", "folder", "link", "missing"]
)
async def test_path_that_is_no_regular_file_is_an_error(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/proc/self/environ")
    await error_of(str(tmp_path / name))


@pytest.mark.parametrize(
    "server",
    [
        "http://h/\r\nX: y",
        "http://h/ HTTP/1.1",
        "http://[",
        "http://h:99999",
        "ftp://h",
        "http://",
        "//h",
        "http://h?a=b",
        "http://h#a",
        "http://é.example",
        "http://h\x00",
        "unix:///var/run/docker.sock",
        "",
    ],
)
async def test_server_that_is_no_address_is_an_error(server: str, tmp_path: Path) -> None:
    assert "not http or https" in (await error_of(write_kubeconfig(tmp_path, server))).message


@pytest.mark.parametrize("token", ["a\r\nX: y", "a b", "é", "x" * 20_000, "a\x00"])
async def test_malformed_token_is_an_error(token: str, tmp_path: Path) -> None:
    error = await error_of(write_kubeconfig(tmp_path, user={"token": token}))
    assert "not a token" in error.message
    assert token not in error.message


@pytest.mark.parametrize("url", ["http://user:canary@127.0.0.1:1", "https://user:canary@127.0.0.1:1"])
async def test_password_of_server_or_proxy_is_not_quoted(url: str, tmp_path: Path) -> None:
    for kubeconfig in (
        write_kubeconfig(tmp_path, url),
        write_kubeconfig(tmp_path, cluster={"proxy-url": url}),
    ):
        message = (await result_of(kubeconfig)).error_message or ""
        assert message
        assert "canary" not in message
