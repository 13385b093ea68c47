"""`claude-k8s manifests`: the objects of an agents' namespace, as a YAML stream or as kustomize folders.

The folders are `base` (the agents), `overlays/restricted` (or `baseline`), which adds the Pod Security labels
to the namespace, `overlays/server`, which adds a Paperclip server, and `agent-image` with a Dockerfile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from paperclip_claude_k8s.checks.role import Account, access_objects, to_yaml
from paperclip_claude_k8s.checks.setup_objects import (
    API_KEY,
    API_KEY_SECRET,
    Claim,
    Server,
    Setup,
    agents_objects,
    namespace_object,
    server_objects,
)
from paperclip_claude_k8s.cli.entry import DONE, FAILED, USAGE, print_failure, print_reply, print_text
from paperclip_claude_k8s.cli.object_names import (
    check_account,
    check_names,
    check_namespace,
    check_size,
    is_image,
)
from paperclip_claude_k8s.cli.options import OptionsInvalid
from paperclip_claude_k8s.cli.runs.replies import failure
from paperclip_claude_k8s.cli.setup_options import ManifestsOptions, RbacOptions
from paperclip_claude_k8s.cluster.model import JsonObject

_PORTS = range(1, 65536)


def manifests(options: ManifestsOptions) -> int:
    """Print the objects, or write them to the folder of `--out`.

    Exit code 0: printed or written. 1: the folder cannot be written. 2: wrong options.
    """
    try:
        setup, server = read_setup(options), _read_server(options)
        if options.out is None:
            print_text(yaml_stream(setup, server).rstrip("\n"))
            return DONE
        return _write(options.out.expanduser().absolute(), kustomize_files(setup, server))
    except OptionsInvalid as invalid:
        error_reply = {"status": "failed", "error": "usage", "detail": str(invalid)}
        return print_failure(error_reply, USAGE, as_reply=options.out is not None)


def rbac(options: RbacOptions) -> int:
    """Print Role and RoleBinding. Exit code 2: wrong options."""
    try:
        check_namespace("--namespace", options.namespace)
        check_account("--service-account", options.service_account)
    except OptionsInvalid as invalid:
        return print_failure(failure("usage", str(invalid)), USAGE)
    account = Account.read(options.service_account, options.namespace)
    objects = access_objects(
        options.namespace,
        account,
        auto_claims=options.session_volume == "auto",
        job_events=options.job_events,
        network_policy=options.network_policy,
    )
    print_text(to_yaml(objects).rstrip("\n"))
    return DONE


def read_setup(options: ManifestsOptions) -> Setup:
    """What the options describe, without the server. Raises `OptionsInvalid`."""
    check_namespace("--namespace", options.namespace)
    check_account("--service-account", options.service_account)
    check_names({"--claim": options.claim, "--storage-class": options.storage_class})
    check_size("--storage", options.storage)
    check_namespace("--telemetry", options.telemetry)
    auto = options.session_volume == "auto"
    name = ("" if auto else Claim().name) if options.claim is None else options.claim
    claim = Claim(name, options.storage, options.storage_class or "") if name else None
    return Setup(
        namespace=options.namespace,
        account=Account.read(options.service_account, options.namespace),
        pod_security=options.pod_security,
        claim=claim,
        auto_claims=auto,
        network_policy=options.network_policy,
        telemetry_namespace=options.telemetry or "",
    )


def _read_server(options: ManifestsOptions) -> Server | None:
    if options.server is not None and not is_image(options.server):
        raise OptionsInvalid(f"--server {options.server!r} is no name of an image")
    if options.server is None:
        if options.metrics is not None:
            raise OptionsInvalid("--metrics is a port of the server: it needs --server IMAGE")
        return None
    if Account.read(options.service_account, options.namespace).namespace != options.namespace:
        raise OptionsInvalid(
            "--server runs in the agents' namespace: give --service-account without namespace"
        )
    if options.metrics is None:
        return Server(options.server)
    namespace, _, port = options.metrics.rpartition(":")
    check_namespace("--metrics", namespace or None)
    if not (namespace and port.isdecimal() and port.isascii() and int(port) in _PORTS):
        raise OptionsInvalid(f"--metrics {options.metrics}: expected NAMESPACE:PORT, such as monitoring:9464")
    return Server(options.server, metrics_port=int(port), metrics_namespace=namespace)


def yaml_stream(setup: Setup, server: Server | None) -> str:
    """All objects as YAML documents, after a comment about the API key, which is not among them."""
    objects = agents_objects(setup) + (server_objects(setup, server) if server else ())
    return f"{_api_key_comment(setup)}{to_yaml(objects)}"


def _api_key_comment(setup: Setup) -> str:
    return (
        "# The API key is not among these objects. Create its Secret once:\n"
        f"#   kubectl --namespace {setup.namespace} create secret generic {API_KEY_SECRET} "
        f"--from-file={API_KEY}=FILE\n"
    )


def kustomize_files(setup: Setup, server: Server | None) -> dict[str, str]:
    """Path → content of the files of a kustomize base and its overlays, and the Dockerfile."""
    base = agents_objects(replace(setup, pod_security="none"))  # an overlay adds the labels
    contents = {
        "base/agents.yaml": _api_key_comment(setup) + to_yaml(base),
        "base/kustomization.yaml": _kustomization(["agents.yaml"]),
        "agent-image/Dockerfile": dockerfile(),
    }
    parent = "../../base"
    if setup.pod_security != "none":
        labelled = namespace_object(setup.namespace, setup.pod_security)
        contents[f"overlays/{setup.pod_security}/kustomization.yaml"] = _kustomization([parent], [labelled])
        parent = f"../{setup.pod_security}"
    if server is not None:
        contents["overlays/server/server.yaml"] = to_yaml(server_objects(setup, server))
        contents["overlays/server/kustomization.yaml"] = _kustomization([parent, "server.yaml"])
    return contents


def _kustomization(resources: Iterable[str], patches: Iterable[JsonObject] = ()) -> str:
    content: JsonObject = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
    }
    patched = [{"patch": to_yaml([patch])} for patch in patches]
    return to_yaml([{**content, **({"patches": patched} if patched else {})}])


def dockerfile() -> str:
    """The Dockerfile of an agent's image."""
    return files("paperclip_claude_k8s.docs").joinpath("agent-image.Dockerfile").read_text(encoding="utf-8")


def _write(folder: Path, contents: Mapping[str, str]) -> int:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OptionsInvalid(f"--out {folder} exists and is not an empty folder: name a new one")
    try:
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    except OSError as error:
        return print_failure(
            {"status": "failed", "error": "not_written", "detail": str(error)}, FAILED, as_reply=True
        )
    folders = [
        str(folder / Path(name).parent) for name in contents if Path(name).name == "kustomization.yaml"
    ]
    apply = f"kubectl apply -k {folders[-1]}"  # the last one builds on the others
    return print_reply({"status": "written", "files": sorted(contents), "apply": apply}, DONE)
