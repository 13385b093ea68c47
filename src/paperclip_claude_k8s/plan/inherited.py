"""The part of the home pod's environment that Jobs inherit, resolved as Kubernetes resolved it there.

Plain values are expanded here, by Kubernetes' rules: `$(NAME)` is an earlier variable, `$$` is one dollar. An
entry with `valueFrom`, for example a reference to a Secret, is passed on to the Job, because only the cluster
can resolve it. A plain value that refers to such an entry by `$(NAME)` is passed on in the same way. If it
looks secret, the Job must not show it: it goes into the run Secret, where `$(NAME)` is not resolved.

A webhook of a cloud provider gives the home pod an identity: a token of its service account as a volume, and
variables that name it. The agent's Pod has another service account, so these variables are not inherited. If
that account has an identity, the webhook sets them anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.cluster.home_pod_reading import TOKEN_MOUNT
from paperclip_claude_k8s.cluster.model import HomePod, JsonObject
from paperclip_claude_k8s.cluster.variable_references import expand, refers_to_any
from paperclip_claude_k8s.host.redact import is_secret_name, looks_like_credential
from paperclip_claude_k8s.plan.host_only import RUN_VARIABLE, SERVER_SECRETS
from paperclip_claude_k8s.plan.paths import is_in_any

_CLOUD_IDENTITIES = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": ("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"),
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
    "AZURE_FEDERATED_TOKEN_FILE": ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST"),
    "GOOGLE_APPLICATION_CREDENTIALS": (),
}
"""Variable with the path of a token → the other variables of the same identity."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """The inherited variables: values (`literals`), and entries that only Kubernetes can resolve."""

    literals: Mapping[str, str] = field(default_factory=dict, repr=False)
    value_from: tuple[JsonObject, ...] = ()
    env_from: tuple[JsonObject, ...] = ()
    dropped: tuple[str, ...] = ()
    """Names of the variables that are not inherited."""
    identity: tuple[str, ...] = ()
    """Those of the `dropped` names that describe the cloud identity of the home pod's service account."""
    fileless: tuple[str, ...] = ()
    """Names of inherited variables with the path of a file on a volume that the agent does not get."""


def inherited_environment(home: HomePod | None) -> Inherited:
    """All variables except the host's own secrets, those that describe a run, and a cloud identity."""
    if home is None:
        return Inherited()
    missing_folders = [mount.path for mount in home.not_inherited] + [TOKEN_MOUNT]
    literals: dict[str, str] = {}
    referring: dict[str, JsonObject] = {}
    dropped: set[str] = set()
    for entry in home.env:
        name = str(entry.get("name") or "")
        if name in SERVER_SECRETS or RUN_VARIABLE.match(name):
            dropped.add(name)
        elif "valueFrom" in entry:
            literals.pop(name, None)
            referring[name] = dict(entry)
        else:
            value = str(entry.get("value") or "")
            literals.pop(name, None)
            referring.pop(name, None)
            if refers_to_any(value, referring) and not (is_secret_name(name) or looks_like_credential(value)):
                referring[name] = {"name": name, "value": expand(value, literals, expanded_again=True)}
            else:
                literals[name] = expand(value, literals)
    fileless = {name for name, value in literals.items() if is_in_any(value, missing_folders)}
    tokens = fileless & _CLOUD_IDENTITIES.keys()
    identity = {name for token in tokens for name in (token, *_CLOUD_IDENTITIES[token])}
    return Inherited(
        {name: value for name, value in literals.items() if name not in identity},
        tuple(entry for entry in referring.values() if entry["name"] not in identity),
        tuple(home.env_from),
        dropped=tuple(sorted(dropped | identity)),
        identity=tuple(sorted(identity & {get_text(entry, "name") for entry in home.env})),
        fileless=tuple(sorted(fileless - identity)),
    )
