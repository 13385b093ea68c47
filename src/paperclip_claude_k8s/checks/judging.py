"""What was seen of server, rights, volume, Secrets and credentials → checks."""

from collections.abc import Iterator, Mapping

from paperclip_claude_k8s.checks.observations import Granted, Place, Seen
from paperclip_claude_k8s.checks.rights import Right
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import Failure, describe_error
from paperclip_claude_k8s.host.checkup import Check, Level
from paperclip_claude_k8s.host.config import AdapterConfig, unknown_keys
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.pod_security import weaknesses
from paperclip_claude_k8s.plan.requirements import REPLACEMENT_POLICY_SINCE, Version, unmet

ROLE_HINT = "`claude-k8s rbac --namespace {}` prints the Role that grants it"
CREDENTIALS = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
    }
)
"""Variables by which the CLI finds an account; the last two name a cloud's own way of signing in."""


def of_failure(failure: Failure) -> Check:
    """A failure that would end every run before its Job, as a check with the same code."""
    return Check(code=failure.code, level="error", message=failure.what, hint=failure.next_step or None)


def judge_config(given: JsonMap) -> Iterator[Check]:
    unread = unknown_keys(given)
    if unread:
        text = f"Settings nobody reads: {', '.join(unread)}"
        yield Check(code="k8s_config_unknown", level="warn", message=text, hint="look for a slip of the pen")


# Server --------------------------------------------------------------------------------------------


def judge_server(version: Seen[Version], config: AdapterConfig) -> Iterator[Check]:
    if isinstance(version, ClusterError):
        yield Check(
            code="k8s_api_unreachable",
            level="error",
            message=f"Cannot reach the Kubernetes API: {describe_error(version)}",
            hint="check `kubeconfig`, or that this Pod has its service account's token mounted; "
            "then the way to the API server: firewall, proxy, certificate",
        )
        return
    number = ".".join(map(str, version))
    yield Check(code="k8s_api_reachable", level="info", message=f"Kubernetes API {number} is reachable")
    if version < REPLACEMENT_POLICY_SINCE:
        yield Check(
            code="k8s_pod_replacement",
            level="info",
            message=f"Kubernetes {number} drops `podReplacementPolicy`: it replaces a deleted Pod while its "
            "agent still works. The run Secret keeps a second agent from starting",
            hint="this takes the rights to patch and delete Secrets; upgrade to 1.29 to have the server wait",
        )
    for setting, since in unmet(config, version):
        least = ".".join(map(str, since))
        yield Check(
            code="k8s_version_too_old",
            level="error",
            message=f"{setting} needs Kubernetes {least}; this one is {number}",
            hint=f"upgrade the cluster, or leave {setting} out",
        )


# Rights --------------------------------------------------------------------------------------------


def judge_rights(granted: Granted, namespace: str) -> Iterator[Check]:
    """One line for each right; one for all of them where none could be asked about."""
    unasked = [answer for answer in granted.answers.values() if isinstance(answer, ClusterError)]
    if unasked and len(unasked) == len(granted.answers):
        yield _nothing_asked(unasked[0])
        return
    for right, answer in granted.answers.items():
        yield _judge_right(right, answer, namespace)


def _nothing_asked(error: ClusterError) -> Check:
    level: Level = "warn"
    hint = "the server may not offer access reviews; compare with `claude-k8s rbac` by hand"
    if error.unauthorized:
        level, hint = "error", "renew the token or certificate of the kubeconfig or service account"
    text = f"The rights of this account could not be asked for: {describe_error(error)}"
    return Check(code="k8s_rbac_check_failed", level=level, message=text, hint=hint)


def _judge_right(right: Right, answer: Seen[bool], namespace: str) -> Check:
    if isinstance(answer, ClusterError):
        text = f"Whether {right.label} is allowed in {namespace} could not be asked: {describe_error(answer)}"
        return Check(code=right.code, level="warn", message=text, hint=ROLE_HINT.format(namespace))
    if answer:
        return Check(code=right.code, level="info", message=f"May {right.label} in {namespace}")
    instead = f"; instead: {right.instead}" if right.instead else "; nothing takes its place"
    return Check(
        code=right.code,
        level=right.level,
        message=f"May not {right.label} in {namespace}: {right.lost}{instead}",
        hint=ROLE_HINT.format(namespace),
    )


# What the Pod needs ----------------------------------------------------------------------------------


def judge_volumes(place: Place, granted: Granted) -> Iterator[Check]:
    if not place.refers.claims:
        yield Check(
            code="k8s_pvc_not_detected",
            level="warn",
            message="No PVC is mounted on /paperclip: each Pod has a HOME of its own that goes with it, "
            "so sessions cannot be resumed and workspaces not be shared",
            hint="mount a ReadWriteMany claim at /paperclip in the home pod",
        )
    for name, modes in place.claims.items():
        yield _judge_claim(name, modes, place.plan.namespace, granted)


def _judge_claim(name: str, modes: Seen[tuple[str, ...] | None], namespace: str, granted: Granted) -> Check:
    if isinstance(modes, ClusterError):
        level: Level = "info" if granted.lacks("get", "persistentvolumeclaims") else "warn"
        text = f"PVC {name} could not be looked at: {describe_error(modes)}"
        return Check(code="k8s_pvc_check_failed", level=level, message=text)
    if modes is None:
        text = f"There is no PVC {name} in {namespace}: no Pod will be scheduled"
        hint = "run Jobs in the home pod's namespace, or create a claim of that name"
        return Check(code="k8s_pvc_missing", level="error", message=text, hint=hint)
    if "ReadWriteMany" in modes:
        text = f"PVC {name} is ReadWriteMany: Pods on any node can mount it"
        return Check(code="k8s_pvc_rwx", level="info", message=text)
    what, level = _narrow_modes(modes)
    return Check(
        code="k8s_pvc_not_rwx",
        level=level,
        message=f"PVC {name} has access modes {', '.join(modes) or 'none'}: {what}",
        hint="use a claim with ReadWriteMany",
    )


def _narrow_modes(modes: tuple[str, ...]) -> tuple[str, Level]:
    if "ReadWriteOnce" in modes:
        return "agents can only run on the node where it is mounted already", "warn"
    if "ReadWriteOncePod" in modes:
        return "only one Pod at a time can have it, and the home pod has", "error"
    return "agents cannot write to it", "error"


def judge_secrets(place: Place, granted: Granted) -> Iterator[Check]:
    """Those the Pod cannot start without, and those by which images are pulled."""
    unstarted = "a Pod that refers to it does not start"
    yield from _exist("k8s_secret", "error", unstarted, place.secrets, granted)
    unpulled = "the image can only be pulled if its registry asks for nothing"
    yield from _exist("k8s_image_pull_secret", "warn", unpulled, place.pull_secrets, granted)


def _exist(
    code: str, level: Level, without: str, found: Mapping[str, Seen[bool]], granted: Granted
) -> Iterator[Check]:
    for name, there in found.items():
        if isinstance(there, ClusterError):
            unsure: Level = "info" if granted.lacks("get", "secrets") else "warn"
            text = f"Secret {name} could not be looked for: {describe_error(there)}"
            yield Check(code=f"{code}_check_failed", level=unsure, message=text)
        elif there:
            yield Check(code=f"{code}_exists", level="info", message=f"Secret {name} exists")
        else:
            text = f"Secret {name} does not exist in the Jobs' namespace: {without}"
            hint = "create it there, or take the reference out of the home pod"
            yield Check(code=f"{code}_missing", level=level, message=text, hint=hint)


def judge_pod_security(place: Place) -> Iterator[Check]:
    """Each way in which the configured Pod is weaker than the Pod Security Standard `restricted`."""
    for found in weaknesses(job_manifest(place.plan)["spec"]["template"]):
        yield Check(
            code="k8s_pod_not_restricted",
            level="warn",
            message=f"The Pod is weaker than the Pod Security Standard `restricted`: {found}",
            hint="look at podTemplate, runAsUser and enableDocker; a strict namespace refuses such a Pod",
        )


def judge_credentials(place: Place) -> Check:
    """Whether the agent would find an account; what lies in the shared HOME cannot be seen from here."""
    environment = place.plan.environment
    known = sorted(CREDENTIALS & environment.names)
    if known:
        text = f"The agent gets {', '.join(known)}"
        return Check(code="claude_credentials_found", level="info", message=text)
    if environment.env_from or place.refers.claims:
        where = "from the home pod's envFrom" if environment.env_from else "on the shared volume"
        text = f"No credential is named in the agent's environment; one may come {where}"
        return Check(code="claude_credentials_unseen", level="info", message=text)
    return Check(
        code="claude_credentials_missing",
        level="warn",
        message="The agent's environment names no credential and its HOME is empty: claude cannot log in",
        hint="set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN or a cloud's variables in `env`",
    )
