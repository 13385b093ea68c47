"""Turns what was collected about server, rights, volume, Secrets and credentials into checks."""

from collections.abc import Iterator, Mapping
from typing import Literal

from paperclip_claude_k8s.checks.observations import GrantedRights, Keys, PlannedRun, Response
from paperclip_claude_k8s.checks.references import agent_variables
from paperclip_claude_k8s.checks.rights import Right
from paperclip_claude_k8s.cluster.error_texts import describe_error
from paperclip_claude_k8s.cluster.model import ClaimSnapshot
from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError
from paperclip_claude_k8s.failures import Failure, config_invalid, policy_refused
from paperclip_claude_k8s.host.checkup import Check, Level
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.config_admission import shorten
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.host.unknown_settings import describe_unknown_keys
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.pod_admission import reach_notes
from paperclip_claude_k8s.plan.pod_security import violations
from paperclip_claude_k8s.plan.requirements import REPLACEMENT_POLICY_SINCE, Version, unmet

ROLE_HINT = "`claude-k8s rbac --namespace {}` prints the Role that grants it"
CREDENTIAL_VARIABLES = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
    }
)
"""Variables by which Claude Code gets credentials. The last two make it use those of a cloud provider."""


def failure_check(failure: Failure) -> Check:
    """The check for a failure that would end every run before its Job is created; it has the same code."""
    return Check(code=failure.code, level="error", message=failure.what, hint=failure.next_step or None)


def config_checks(given: JsonMap) -> Iterator[Check]:
    """One check that names the unknown settings, if there are any."""
    unknown = describe_unknown_keys(given)
    if unknown:
        text = f"Unknown settings: {', '.join(unknown)}"
        yield Check(code="k8s_config_unknown", level="warn", message=text, hint="check the spelling")


def policy_checks(refusals: tuple[Refusal, ...]) -> Iterator[Check]:
    """One check for each thing that the administrator's policy does not allow."""
    for refusal in refusals:
        yield failure_check(policy_refused(refusal))


# Server --------------------------------------------------------------------------------------------


def server_checks(version: Response[Version], config: AdapterConfig) -> Iterator[Check]:
    """Whether the API server can be reached, and whether it is new enough for the settings in use."""
    if isinstance(version, ClusterError):
        yield _unreachable_check(version)
        return
    number = ".".join(map(str, version))
    text = f"Kubernetes API {number} is reachable{_reached_by(config)}"
    yield Check(code="k8s_api_reachable", level="info", message=text)
    if version < REPLACEMENT_POLICY_SINCE:
        yield Check(
            code="k8s_pod_replacement",
            level="info",
            message=f"Kubernetes {number} ignores `podReplacementPolicy`: it replaces a deleted Pod while "
            "its agent still works. The run Secret keeps a second agent from starting",
            hint="the adapter needs the rights to patch and delete Secrets for this; from 1.29 on the server "
            "itself waits for the end of the Pod",
        )
    for setting, since in unmet(config, version):
        least = ".".join(map(str, since))
        yield Check(
            code="k8s_version_too_old",
            level="error",
            message=f"{setting} needs Kubernetes {least} or newer; this cluster has {number}",
            hint=f"upgrade the cluster, or leave {setting} out",
        )


def _reached_by(config: AdapterConfig) -> str:
    """How the server's address and credentials are found, for a message."""
    if config.kubeconfig is None:
        return " by this Pod's service account"
    context = f", context {shorten(config.kube_context)}" if config.kube_context else ""
    return f" by kubeconfig {shorten(config.kubeconfig)}{context}"


def _unreachable_check(error: ClusterError) -> Check:
    if error.reason == UNUSABLE_CREDENTIALS:  # the message says what to correct
        return failure_check(config_invalid(error.message))
    hint = (
        "check `kubeconfig`, or that this Pod has its service account's token mounted; "
        "then check firewall, proxy and certificates on the way to the API server"
    )
    if error.foreign:
        hint = "what answered is not the API server: do what the message says, then run the check again"
    text = f"Cannot reach the Kubernetes API: {describe_error(error)}"
    return Check(code="k8s_api_unreachable", level="error", message=text, hint=hint)


# Rights --------------------------------------------------------------------------------------------


def rights_checks(granted: GrantedRights, namespace: str) -> Iterator[Check]:
    """One check for all granted rights, and one for each right that is missing or could not be determined.

    If none of the rights could be determined, one check says so for all.
    """
    unknown = [response for response in granted.responses.values() if isinstance(response, ClusterError)]
    if unknown and len(unknown) == len(granted.responses):
        yield _reviews_failed_check(unknown[0])
        return
    labels = [right.label for right, response in granted.responses.items() if response is True]
    if labels:
        number = (
            f"all {len(labels)}"
            if len(labels) == len(granted.responses)
            else f"{len(labels)} of {len(granted.responses)}"
        )
        text = f"This account has {number} rights that runs use in {namespace}"
        yield Check(code="k8s_rbac_granted", level="info", message=text, detail=", ".join(labels))
    for right, response in granted.responses.items():
        if response is not True:
            yield _right_check(right, response, namespace)


def _reviews_failed_check(error: ClusterError) -> Check:
    level: Level = "warn"
    hint = "the server may not offer access reviews; compare the account's Role with `claude-k8s rbac`"
    if error.unauthorized:
        level, hint = "error", "renew the token or certificate of the kubeconfig or service account"
    text = f"The rights of this account could not be determined: {describe_error(error)}"
    return Check(code="k8s_rbac_check_failed", level=level, message=text, hint=hint)


def _right_check(right: Right, response: ClusterError | Literal[False], namespace: str) -> Check:
    if isinstance(response, ClusterError):
        text = f"Could not check the right to {right.label} in {namespace}: {describe_error(response)}"
        return Check(code=right.code, level="warn", message=text, hint=ROLE_HINT.format(namespace))
    instead = f"; instead: {right.instead}" if right.instead else "; there is no fallback"
    return Check(
        code=right.code,
        level=right.level,
        message=f"May not {right.label} in {namespace}: {right.lost}{instead}",
        hint=ROLE_HINT.format(namespace),
    )


# What the Pod needs ----------------------------------------------------------------------------------


def volume_checks(run: PlannedRun, granted: GrantedRights) -> Iterator[Check]:
    """Whether sessions that need a shared volume have one, and whether each claim can be mounted on any node.

    The claim that `sessionVolume` names is left to `session_volume_checks`.
    """
    if not run.references.claims and run.plan.session_volume.kind == "shared":
        yield Check(
            code="k8s_pvc_not_detected",
            level="warn",
            message="No PVC is mounted at /paperclip: each Pod has its own temporary HOME, so sessions "
            "are not resumed and workspaces cannot be shared",
            hint="set `sessionVolume` to auto; or name a ReadWriteMany claim in `claimName`, or mount one at "
            "/paperclip in the home pod",
        )
    for name, claim in run.claims.items():
        if name != run.plan.session_volume.claim_name:
            yield _claim_check(name, claim, run.plan.namespace, granted)


def _claim_check(
    name: str, claim: Response[ClaimSnapshot | None], namespace: str, granted: GrantedRights
) -> Check:
    if isinstance(claim, ClusterError):
        level: Level = "info" if granted.lacks("get", "persistentvolumeclaims") else "warn"
        text = f"PVC {name} could not be read: {describe_error(claim)}"
        return Check(code="k8s_pvc_check_failed", level=level, message=text)
    if claim is None:
        text = f"PVC {name} does not exist in {namespace}: no Pod will be scheduled"
        hint = "run Jobs in the home pod's namespace, or create a claim of that name"
        return Check(code="k8s_pvc_missing", level="error", message=text, hint=hint)
    modes = claim.access_modes
    if "ReadWriteMany" in modes:
        text = f"PVC {name} is ReadWriteMany: Pods on any node can mount it"
        return Check(code="k8s_pvc_rwx", level="info", message=text)
    consequence, level = _limited_modes(modes)
    return Check(
        code="k8s_pvc_not_rwx",
        level=level,
        message=f"PVC {name} has access modes {', '.join(modes) or 'none'}: {consequence}",
        hint="use a claim with ReadWriteMany",
    )


def _limited_modes(modes: tuple[str, ...]) -> tuple[str, Level]:
    """What follows from access modes without ReadWriteMany, and the level of the check."""
    if "ReadWriteOnce" in modes:
        return "agents can only run on the node where it is already mounted", "warn"
    if "ReadWriteOncePod" in modes:
        return "only one Pod at a time can mount it, and the home pod already does", "error"
    return "agents cannot write to it", "error"


def secret_checks(run: PlannedRun, granted: GrantedRights) -> Iterator[Check]:
    """Whether the Secrets and keys exist that the Pod needs to start, and the Secrets for its images."""
    not_started = "a Pod that refers to it does not start"
    yield from _existence_checks("k8s_secret", "error", not_started, run.secrets, granted)
    yield from _key_checks(run)
    not_pulled = "the image can only be pulled if its registry needs no credentials"
    yield from _existence_checks("k8s_image_pull_secret", "warn", not_pulled, run.pull_secrets, granted)


def _existence_checks(
    code: str, level: Level, consequence: str, secrets: Mapping[str, Response[Keys]], granted: GrantedRights
) -> Iterator[Check]:
    for name, keys in secrets.items():
        if isinstance(keys, ClusterError):
            level_if_unknown: Level = "info" if granted.lacks("get", "secrets") else "warn"
            text = f"Secret {name} could not be read: {describe_error(keys)}"
            yield Check(code=f"{code}_check_failed", level=level_if_unknown, message=text)
        elif keys is not None:
            yield Check(code=f"{code}_exists", level="info", message=f"Secret {name} exists")
        else:
            text = f"Secret {name} does not exist in the Jobs' namespace: {consequence}"
            hint = "create it there, or remove the reference from the home pod"
            yield Check(code=f"{code}_missing", level=level, message=text, hint=hint)


def _key_checks(run: PlannedRun) -> Iterator[Check]:
    """One check for each key that a variable needs and that its Secret does not have."""
    for name, key in run.references.secret_keys:
        keys = run.secrets.get(name)
        if isinstance(keys, frozenset) and key not in keys:
            existing = f"it has {', '.join(sorted(keys)[:20])}" if keys else "it is empty"
            yield Check(
                code="k8s_secret_key_missing",
                level="error",
                message=f"Secret {name} has no key {key}, so the Pod does not start; {existing}",
                hint="correct the reference, or add the key to the Secret",
            )


def pod_security_checks(run: PlannedRun) -> Iterator[Check]:
    """One check for each way in which the Pod is weaker than the Pod Security Standard `restricted`."""
    for violation in violations(job_manifest(run.plan)["spec"]["template"]):
        yield Check(
            code="k8s_pod_not_restricted",
            level="warn",
            message=f"The Pod is weaker than the Pod Security Standard `restricted`: {violation}",
            hint="check podTemplate, runAsUser and enableDocker; namespaces that enforce it refuse the Pod",
        )


def reach_checks(run: PlannedRun) -> Iterator[Check]:
    """One check for each thing outside the Pod that `podTemplate` or a setting gives it access to."""
    for note in reach_notes(run.plan):
        hint = "the administrator's policy can forbid it; see docs/policy.md"
        yield Check(code="k8s_pod_reaches_further", level="warn", message=note, hint=hint)


def credentials_check(run: PlannedRun) -> Check:
    """Whether the agent would find credentials. Those in the shared HOME cannot be seen from here."""
    environment = run.plan.environment
    names = sorted(CREDENTIAL_VARIABLES & agent_variables(job_manifest(run.plan)))
    if names:
        text = f"The agent gets {', '.join(names)}"
        return Check(code="claude_credentials_found", level="info", message=text)
    if environment.env_from or run.references.claims:
        where = "in the home pod's envFrom" if environment.env_from else "on the shared volume"
        text = f"The agent's environment names no credential; there may be one {where}"
        return Check(code="claude_credentials_unseen", level="info", message=text)
    return Check(
        code="claude_credentials_missing",
        level="warn",
        message="The agent's environment has no credential and its HOME is empty: claude cannot log in",
        hint="set ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN or the variables of a cloud provider in `env`; "
        "a value may come from a Secret (docs/quick-start.md)",
    )
