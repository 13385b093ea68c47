"""From an observation to the result: combines plan and settings into the inputs of `verdict`."""

import logging
from dataclasses import replace
from functools import cache

from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.claude.versions import NEWEST_KNOWN, is_newer_than_known
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.known_secrets import mask_values
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.host.session_volume_settings import AUTO
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.observation import Observation
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import HostFailures, ResultInputs, billing_of, build_result
from paperclip_claude_k8s.verdict.session_report import SessionReport

MAX_TURNS_RETRY = "max_turns_continuation"
"""The host's `retryReason` of a run that continues one whose turns ran out."""

_log = logging.getLogger(__name__)


def classify_run(observation: Observation, plan: RunPlan, settings: ProcessSettings) -> Failure | None:
    """Why the run failed; None if it succeeded."""
    config = plan.config
    version = observation.transcript.reported_usage.version
    if is_newer_than_known(version):
        _note_new_version(version)
    return classify_end(
        observation,
        OutcomeInputs(
            now=settings.now(),
            timeout=config.timeout_sec,
            log_limit=config.log_size_limit,
            resumed=_is_resumed(plan),
            is_retry=plan.retry_reason not in {None, MAX_TURNS_RETRY},
        ),
    )


@cache
def _note_new_version(version: str) -> None:
    """Logged only once for each version, because of the cache."""
    _log.debug("Claude Code %s is newer than %s, the newest version that was tested", version, NEWEST_KNOWN)


def needs_fresh_session(failure: Failure | None, plan: RunPlan) -> bool:
    """True if this is the first attempt and failed because its session cannot be resumed."""
    return failure is not None and failure.clear_session and plan.resume is not None and plan.attempt == 1


def usage_of(observation: Observation, plan: RunPlan) -> RunUsage:
    """What this attempt used; the result of the next attempt includes it."""
    return observation.transcript.reported_usage.for_run(resumed=_is_resumed(plan))


async def announce_end(observation: Observation, plan: RunPlan, narrator: Narrator) -> None:
    """Report the end of the agent's output, with the usage that the output reports."""
    await narrator.end_output(usage_of(observation, plan))


def result_of(  # noqa: PLR0913, PLR0917  # everything a result consists of
    failure: Failure | None,
    observation: Observation,
    plan: RunPlan,
    settings: ProcessSettings,
    host_failures: HostFailures,
    earlier: RunUsage | None,
) -> ExecutionResult:
    """The result for the host.

    `host_failures`: output that the host's callback did not accept so far. `earlier`: what the attempt
    before this one used.
    """
    config = plan.config
    environment, source = plan.environment, observation.transcript.api_key_source
    billing, biller = billing_of(environment.names, source, on_bedrock=environment.on_bedrock)
    inputs = ResultInputs(
        now=settings.now(),
        model=config.model or "",
        session_params=dict(plan.session_params),
        billing=billing,
        biller=biller,
        continuation_marker=config.continuation_marker,
        host_failures=replace(
            host_failures, first_error=mask_values(host_failures.first_error, plan.secret_values)
        ),
        # the session that could not be resumed was lost, and no new one takes its place
        clear_session=plan.attempt > 1 and observation.transcript.session_id is None,
        resumed=_is_resumed(plan),
        session=_session_report(plan),
        repository_refused=plan.workspace.refused,
        earlier=earlier,
    )
    return build_result(failure, observation, inputs)


def _session_report(plan: RunPlan) -> SessionReport:
    volume = plan.session_volume
    return SessionReport(
        volume.kind,
        volume.claim_name,
        resumed=_is_resumed(plan),
        why_lost=volume.why_lost,
        expected=plan.config.session_volume != AUTO,
        why_fresh=plan.why_fresh,
    )


def _is_resumed(plan: RunPlan) -> bool:
    return plan.resume is not None
