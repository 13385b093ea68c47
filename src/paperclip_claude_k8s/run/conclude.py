"""From a sighting to the answer: picks what the verdict needs of plan and house, and judges nothing."""

from dataclasses import replace

from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.redact import mask_values
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.verdict.observation import Observation
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import HostFailures, ResultInputs, billing_of, build_result


def classify_run(seen: Observation, plan: RunPlan, settings: ProcessSettings) -> Failure | None:
    """What went wrong, or None."""
    config = plan.config
    return classify_end(
        seen, OutcomeInputs(settings.now(), config.timeout_sec, config.log_size_limit, _resumed(plan))
    )


def needs_fresh_session(failure: Failure | None, plan: RunPlan) -> bool:
    """Whether one more attempt without the session may succeed: it was resumed, and cannot be (SPEC 6)."""
    return failure is not None and failure.clear_session and plan.resume is not None and plan.attempt == 1


def used_by(seen: Observation, plan: RunPlan) -> RunUsage:
    """What this attempt used, for the answer of the one after it."""
    return seen.transcript.reported_usage.for_run(resumed=_resumed(plan))


def answer(  # noqa: PLR0913, PLR0917  # all that an answer is made of
    failure: Failure | None,
    seen: Observation,
    plan: RunPlan,
    settings: ProcessSettings,
    untaken: HostFailures,
    earlier: RunUsage | None = None,
) -> ExecutionResult:
    """The whole answer.

    `untaken`: what the run's host did not take so far; `earlier`: what an attempt before this one used.
    """
    config = plan.config
    environment, source = plan.environment, seen.transcript.api_key_source
    billing, biller = billing_of(environment.names, source, on_bedrock=environment.on_bedrock)
    asked = ResultInputs(
        now=settings.now(),
        model=config.model or "",
        session_params=dict(plan.session_params),
        billing=billing,
        biller=biller,
        continuation_marker=config.continuation_marker,
        host_failures=replace(untaken, first_error=mask_values(untaken.first_error, plan.secret_values)),
        clear_session=plan.attempt > 1 and seen.transcript.session_id is None,
        resumed=_resumed(plan),
        earlier=earlier,
    )
    return build_result(failure, seen, asked)


def _resumed(plan: RunPlan) -> bool:
    return plan.resume is not None
