"""Where the API server is and who we are there, by kubernetes_asyncio's loaders, imported at first use."""

import os
import ssl
from pathlib import Path
from typing import Any

import yaml

from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Credentials:
    """Server, certificates and token of a kubeconfig, or of the cluster we live in."""

    def __init__(self, kubeconfig: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._configuration: Any = None
        self.namespace: str | None = None

    async def load(self) -> None:
        """Read everything.

        Raises:
            ClusterError: status None, reason "Kubeconfig"; says which file and what is wrong with it.
        """
        if self._configuration is None:
            await self.reload()

    async def reload(self) -> None:
        """Read everything again: tokens expire, certificates are renewed."""
        from kubernetes_asyncio import client, config  # noqa: PLC0415  # 0.4 s and 70 MB, only when needed

        configuration = client.Configuration()
        if self._kubeconfig is None:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException as error:
                raise _unusable(f"no kubeconfig is set and this is no Pod ({error})") from None
            self.namespace = _read_namespace()
        else:
            loaded = _parsed(self._kubeconfig)
            self.namespace = _context_namespace(loaded)
            try:
                await config.load_kube_config(self._kubeconfig, client_configuration=configuration)
            except (config.ConfigException, KeyError, TypeError, OSError) as error:
                raise _unusable(f"kubeconfig {self._kubeconfig} cannot be used: {error}") from None
        self._configuration = configuration

    @property
    def server(self) -> str:
        return str(self._configuration.host).rstrip("/")

    @property
    def proxy(self) -> str | None:
        proxy: str | None = self._configuration.proxy
        return proxy

    @property
    def server_hostname(self) -> str | None:
        hostname: str | None = self._configuration.tls_server_name
        return hostname

    async def headers(self) -> dict[str, str]:
        """The authorization header; loaders refresh a token of the cluster's own by themselves."""
        bearer = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if bearer:
            return {"Authorization": str(bearer)}
        if self._configuration.username:
            return {"Authorization": str(self._configuration.get_basic_auth_token())}
        return {}

    def ssl_context(self) -> ssl.SSLContext:
        configuration = self._configuration
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # clusters with certificates from before 2020 fail OpenSSL's strict reading of RFC 5280
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def _unusable(why: str) -> ClusterError:
    return ClusterError(None, UNUSABLE_CREDENTIALS, f"{why}; set `kubeconfig` to a file that kubectl can use")


def _parsed(path: str) -> dict[str, Any]:
    """The kubeconfig as a mapping, with every fault told by the file's name."""
    if os.pathsep in path:
        raise _unusable(f"kubeconfig {path} names several files; one is needed")
    try:
        loaded = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _unusable(f"kubeconfig {path} does not exist") from None
    except OSError as error:
        raise _unusable(f"kubeconfig {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _unusable(f"kubeconfig {path} is not YAML") from None
    if not isinstance(loaded, dict) or not loaded.get("clusters"):
        raise _unusable(f"kubeconfig {path} names no cluster")
    if not loaded.get("current-context"):
        raise _unusable(f"kubeconfig {path} has no current-context")
    return loaded


def _context_namespace(loaded: dict[str, Any]) -> str | None:
    for named in loaded.get("contexts") or []:
        if named.get("name") == loaded.get("current-context"):
            namespace = (named.get("context") or {}).get("namespace")
            return str(namespace) if namespace else None
    return None


def _read_namespace() -> str | None:
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
