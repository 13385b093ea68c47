"""Any kubeconfig is read, or causes an error that names the file and quotes no credential."""

import asyncio
import base64
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.any_json import ODD_JSON
from tests.support.fuzzing import FUZZ

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigRules
from paperclip_claude_k8s.cluster.port import POLICY_REFUSED, UNUSABLE_CREDENTIALS, ClusterError

CANARY = "canary-token-0123456789"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
TIMINGS = Timings(exec_plugin=2.0)

_PATHS = st.sampled_from(
    ["ca.crt", "token", "/proc/self/environ", "/dev/zero", "fifo", "..", "", "a\0b", "/etc/hostname", "~"]
)
_TEXTS = st.sampled_from(
    [
        CANARY,
        "http://127.0.0.1:1",
        "https://[::1]:6443",
        "https://h:99999",
        "http://u:p@h",
        "https://é.example",
        "h",
        "http://h/\r\nX: y",
        "socks5://h:1",
        "http://",
        ".",
        "a" * 300,
        "true",
        "1:1:1",
        "0x10",
        "\u202e",
        base64.b64encode(PEM.encode()).decode(),
        base64.b64encode(CANARY.encode()).decode(),
        "%%%",
        "echo",
        "client.authentication.k8s.io/v1",
        "oidc",
        "gcp",
        "/bin/false",
        "no-such-program",
    ]
)
_ANY = ODD_JSON | _TEXTS | _PATHS | st.booleans()
_EXEC = st.fixed_dictionaries(
    {"command": st.sampled_from(["/bin/false", "true", "echo"]) | _ANY, "apiVersion": _TEXTS},
    optional={
        "args": st.lists(_ANY, max_size=3) | _ANY,
        "env": st.lists(st.fixed_dictionaries({"name": _TEXTS | _ANY, "value": _ANY}), max_size=2) | _ANY,
    },
)
_PROVIDER = st.fixed_dictionaries(
    {"name": _TEXTS}, optional={"config": st.dictionaries(_TEXTS, _ANY, max_size=2)}
)
_CLUSTER = st.fixed_dictionaries(
    {"server": _TEXTS | _ANY},
    optional={
        "certificate-authority": _PATHS | _ANY,
        "certificate-authority-data": _TEXTS | _ANY,
        "insecure-skip-tls-verify": _ANY,
        "tls-server-name": _TEXTS | _ANY,
        "proxy-url": _TEXTS | _ANY,
    },
)
_USER = st.fixed_dictionaries(
    {},
    optional={
        "token": _TEXTS | _ANY,
        "tokenFile": _PATHS | _ANY,
        "username": _ANY,
        "password": _ANY,
        "client-certificate": _PATHS | _ANY,
        "client-certificate-data": _TEXTS | _ANY,
        "client-key": _PATHS | _ANY,
        "client-key-data": _TEXTS | _ANY,
        "exec": _EXEC | _ANY,
        "auth-provider": _PROVIDER | _ANY,
    },
)


def _named(kind: str, part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    entry = st.fixed_dictionaries({"name": st.just("here") | _ANY, kind: part})
    return st.lists(entry, min_size=1, max_size=2) | _ANY


KUBECONFIGS = st.fixed_dictionaries(
    {
        "current-context": st.just("here") | _ANY,
        "clusters": _named("cluster", _CLUSTER | _ANY),
        "users": _named("user", _USER | _ANY),
        "contexts": st.just([{"name": "here", "context": {"cluster": "here", "user": "here"}}]) | _ANY,
    }
)
WELL_FORMED = st.builds(
    lambda cluster, user: {
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "here", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    },
    _CLUSTER,
    _USER,
)


def _load_error(content: bytes, *, programs: bool) -> str | None:
    """Load the credentials; return the message of the error, if any. `programs`: whether any may run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kubeconfig")
        path.write_bytes(content)
        Path(folder, "ca.crt").write_text(PEM, encoding="utf-8")
        Path(folder, "token").write_text(CANARY, encoding="utf-8")

        async def load() -> None:
            # "oidc" stands for the auth provider, which would contact a server
            rules = KubeconfigRules(may_run=lambda command: programs and command != "oidc")
            credentials = Credentials(str(path), rules, timings=TIMINGS)
            await credentials.load()
            assert credentials.server.startswith(("http://", "https://"))
            header = dict(await credentials.headers()).get("Authorization", "")
            assert "\n" not in header

        try:
            asyncio.run(load())
        except ClusterError as error:
            assert error.status is None
            assert error.reason in {UNUSABLE_CREDENTIALS, POLICY_REFUSED}
            assert folder in error.message
            assert len(error.message) < 2000
            return error.message
        return None


def _yaml(value: object) -> bytes:
    return yaml.safe_dump(value, allow_unicode=False).encode("utf-8", "surrogatepass")


@FUZZ
@given(
    st.binary(max_size=200) | st.text(alphabet="{}[]&*!|>-:?,'\"#%@ \nabc01~<", max_size=200).map(str.encode)
)
@example(b"a: &a [*a]")
@example(b"!!python/object/apply:os.system ['id']")
@example(b"? {a: b}\n: c")
def test_any_bytes_as_kubeconfig_are_an_error(content: bytes) -> None:
    assert _load_error(content, programs=True) is not None


@FUZZ
@given(KUBECONFIGS | WELL_FORMED, st.booleans())
def test_any_kubeconfig_is_read_or_is_an_error(kubeconfig: Any, programs: bool) -> None:  # noqa: FBT001
    message = _load_error(_yaml(kubeconfig), programs=programs)
    assert message is None or (CANARY not in message and "://u:p@" not in message)


@FUZZ
@given(WELL_FORMED, st.data())
def test_damaged_kubeconfig_is_read_or_is_an_error(kubeconfig: Any, data: st.DataObject) -> None:
    content = bytearray(_yaml(kubeconfig))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _load_error(bytes(content), programs=False)
