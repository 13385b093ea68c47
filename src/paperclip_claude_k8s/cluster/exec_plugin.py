"""Runs the exec plugin of a kubeconfig: a program that prints the credentials of the kubeconfig's user.

The program runs only if the policy allows it, in a process group of its own, with few variables of this
process, without stdin, and with limits on time and output. If it does not end in time, or nobody waits for it
any more, the whole group is killed.
"""

import base64
import json
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from paperclip_claude_k8s.base.json_readers import as_texts, as_trimmed, get_object, get_objects, get_text
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.threads import call_in_thread
from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cluster.kubeconfig import Kubeconfig, KubeconfigPart, KubeconfigRules

MAX_OUTPUT_BYTES = 1024 * 1024
"""Largest number of bytes that a plugin may print to each of stdout and stderr; a credential has less than
20 KiB."""
MAX_STDERR_CHARS = 500
"""How much of stderr is quoted in an error."""
MAX_HINT_CHARS = 300
"""How much of the kubeconfig's `installHint` is quoted if the plugin is missing."""
INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
        *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *(
            "AWS_PROFILE",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
        ),
        *(
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_STS_REGIONAL_ENDPOINTS",
        ),
        *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        *("CLOUDSDK_CONFIG", "CLOUDSDK_ACTIVE_CONFIG_NAME", "GOOGLE_APPLICATION_CREDENTIALS"),
        *("AZURE_CONFIG_DIR", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
    }
)
"""Variables of this process that every plugin gets: paths, proxies, language, and the account in a cloud.
None contains a secret, except a proxy's password. The policy may name more."""
CODE_VARIABLES = (
    *("LD_", "PYTHON", "PERL", "RUBY", "NODE_", "JAVA_", "_JAVA", "JDK_", "BASH_", "GCONV_", "GLIBC_"),
    *("OPENSSL_", "DOTNET_", "CORECLR_", "GIT_", "SHELLOPTS", "BASHOPTS", "PS4", "CLOUDSDK_PYTHON"),
)
"""Prefixes of variables that make a program load other code. Only a kubeconfig that the administrator named
may set such variables, or PATH or ENV."""

_POLL_SECONDS = 0.1
"""How soon it is noticed that nobody waits for a plugin any more."""


@dataclass(frozen=True, slots=True)
class PluginCredential:
    """What a plugin printed: a token, or a client certificate with its key, or both."""

    token: str | None = field(repr=False)
    certificate: str | None
    key: str | None = field(repr=False)
    expires: datetime | None


class PluginFailed(Exception):
    """The plugin printed no credential. The text is a phrase that follows the plugin's name."""


async def run_plugin(
    kubeconfig: Kubeconfig, authority: str | None, rules: KubeconfigRules, seconds: float
) -> PluginCredential:
    """Run the plugin of the kubeconfig's user. `authority`: certificates (PEM) that the cluster names.

    Raises:
        ClusterError: status None; reason "PolicyRefused" if the rules do not allow the plugin, else
            "Kubeconfig". The message names kubeconfig and plugin, and quotes the beginning of stderr.
    """
    user = kubeconfig.user
    spec = get_object(user.fields, "exec")
    command, version = get_text(spec, "command"), get_text(spec, "apiVersion")
    if not command or not version:
        raise user.unusable("has a user whose exec has no command or no apiVersion")
    shown = neutral(command[:200])
    if not rules.may_run(command):
        raise user.refused(f"runs the program {shown!r} on this host to get its credentials", "execPlugins")
    if get_text(spec, "interactiveMode") == "Always":
        raise user.unusable(f"has the exec plugin {shown!r}, which {_NEEDS_TERMINAL}")
    try:
        environment = _environment(spec, version, _cluster_info(kubeconfig, authority), rules)
        plugin = _Plugin(partial(_arguments, user, spec, command), environment)
        return _credential(await plugin.run(seconds), version)
    except PluginFailed as error:
        why = rules.mask(f"has the exec plugin {shown!r}, which {error}")
        raise user.unusable(f"{why}{_withheld_note(rules)}") from None


_NEEDS_TERMINAL = (
    "asks a person (interactiveMode Always), but there is no terminal here; let the kubeconfig's user have a "
    "token or a certificate, or a plugin that needs no answers"
)


def _arguments(user: KubeconfigPart, spec: Mapping[str, Any], command: str) -> list[str]:
    """The path of the program, and its arguments.

    As with kubectl, a command with a slash is relative to the kubeconfig's folder. Any other is searched on
    the PATH of this process, even if the kubeconfig sets another PATH for the plugin.
    """
    searched = os.path.join(user.folder, command) if "/" in command else command  # noqa: PTH118  # may be long
    program = shutil.which(searched, path=os.environ.get("PATH"))
    if program is None:
        hint = " ".join(neutral(get_text(spec, "installHint")).split())[:MAX_HINT_CHARS]
        raise PluginFailed(f"is not an executable program on this host{': ' if hint else ''}{hint}")
    return [program, *as_texts(spec.get("args"))]


def _environment(
    spec: Mapping[str, Any], version: str, cluster: Mapping[str, Any], rules: KubeconfigRules
) -> dict[str, str]:
    added = {get_text(entry, "name"): get_text(entry, "value") for entry in get_objects(spec, "env")}
    loads_code = any(name in {"PATH", "ENV"} or name.upper().startswith(CODE_VARIABLES) for name in added)
    if "" in added or (loads_code and not rules.trusted):
        raise PluginFailed("is given a variable that a kubeconfig must not set, such as PATH or LD_PRELOAD")
    details = {
        "interactive": False,
        **({"cluster": cluster} if spec.get("provideClusterInfo") is True else {}),
    }
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": details}
    inherited = {name: value for name, value in os.environ.items() if _is_inherited(name, rules)}
    return {**inherited, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _cluster_info(kubeconfig: Kubeconfig, authority: str | None) -> dict[str, Any]:
    """What a plugin with `provideClusterInfo` gets about the cluster: the same as from kubectl."""
    fields = kubeconfig.cluster.fields
    copied = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
    known = {key: fields[key] for key in copied if fields.get(key)}
    if authority:
        known["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
    extensions = {entry.get("name"): entry.get("extension") for entry in get_objects(fields, "extensions")}
    return {**known, "config": extensions.get("client.authentication.k8s.io/exec")}


def _is_inherited(name: str, rules: KubeconfigRules) -> bool:
    return name in INHERITED or rules.may_inherit(name)


def _withheld_note(rules: KubeconfigRules) -> str:
    """A note for the error of a plugin: it may lack variables that it has in a shell. "" if it gets all."""
    if all(_is_inherited(name, rules) for name in os.environ):
        return ""
    return " (it gets few of this host's variables; `execPluginVariables` of the policy names more)"


class _Plugin:
    """Runs a plugin from a thread, because finding and starting it can take long on a network volume."""

    def __init__(self, arguments: Callable[[], list[str]], environment: dict[str, str]) -> None:
        self._arguments = arguments
        self._environment = environment
        self._abandoned = threading.Event()

    async def run(self, seconds: float) -> bytes:
        """What the program prints to stdout. Raises `PluginFailed`."""
        try:
            # one second more than the deadline, so that `_run` itself notices a plugin that takes too long
            return await call_in_thread(lambda: self._run(seconds), seconds + 1, "exec plugins")
        except TimeoutError:
            raise PluginFailed("could not be started in time") from None
        finally:
            self._abandoned.set()  # the thread then kills what still runs, also after a cancellation

    def _run(self, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        try:
            process = subprocess.Popen(  # noqa: S603  # the policy allows it
                self._arguments(),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise PluginFailed(
                f"cannot be run: {getattr(error, 'strerror', None) or 'it is invalid'}"
            ) from None
        with process:
            try:
                stdout, stderr = self._read_output(process, deadline)
                self._wait(process, deadline)
            except PluginFailed:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the id is still this group's
                raise
        if process.returncode != 0:
            quoted = " ".join(neutral(stderr.decode("utf-8", "replace")).split())[:MAX_STDERR_CHARS]
            raise PluginFailed(f"ended with code {process.returncode}{': ' if quoted else ''}{quoted}")
        return stdout

    def _read_output(self, process: "subprocess.Popen[bytes]", deadline: float) -> tuple[bytes, bytes]:
        """Everything that the program prints to stdout and stderr until both are closed."""
        assert process.stdout is not None  # noqa: S101  # for the type checker: both are pipes
        assert process.stderr is not None  # noqa: S101
        read = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        with selectors.DefaultSelector() as selector:
            for descriptor in read:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                self._check_in_time(deadline)
                for ready, _ in selector.select(_POLL_SECONDS):
                    block = os.read(ready.fd, 65536)
                    read[ready.fd] += block
                    if not block:
                        selector.unregister(ready.fd)
                    if len(read[ready.fd]) > MAX_OUTPUT_BYTES:
                        raise PluginFailed(f"printed more than {MAX_OUTPUT_BYTES} bytes and was killed")
        stdout, stderr = read.values()
        return bytes(stdout), bytes(stderr)

    def _wait(self, process: "subprocess.Popen[bytes]", deadline: float) -> None:
        while True:
            self._check_in_time(deadline)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
                return

    def _check_in_time(self, deadline: float) -> None:
        """Raise `PluginFailed` after the deadline, or if nobody waits for the plugin any more."""
        if time.monotonic() >= deadline or self._abandoned.is_set():
            raise PluginFailed("did not end in time and was killed")


def _credential(stdout: bytes, version: str) -> PluginCredential:
    """Read what the plugin printed, an `ExecCredential`. Raises `PluginFailed`."""
    try:
        printed = orjson.loads(stdout)
    except orjson.JSONDecodeError:
        printed = None
    if not isinstance(printed, dict) or not isinstance(printed.get("status"), dict):
        raise PluginFailed("printed something that is not an ExecCredential with a status")
    if printed.get("apiVersion") != version:
        raise PluginFailed("printed a credential of another apiVersion than the kubeconfig names")
    status = printed["status"]
    token = as_trimmed(status.get("token"))
    certificate, key = (
        get_text(status, "clientCertificateData") or None,
        get_text(status, "clientKeyData") or None,
    )
    if token is None and (certificate is None or key is None):
        raise PluginFailed("printed neither a token nor a client certificate with its key")
    return PluginCredential(token, certificate, key, parse_time(status.get("expirationTimestamp")))
