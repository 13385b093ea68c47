"""From a sighting to the answer: picks what the verdict needs of plan and house, and judges nothing."""

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import House
from paperclip_claude_k8s.verdict.billing import billing_of
from paperclip_claude_k8s.verdict.outcome import Terms, weigh
from paperclip_claude_k8s.verdict.report import Asked, report
from paperclip_claude_k8s.verdict.sighting import Sighting


def answer(seen: Sighting, plan: RunPlan, house: House) -> ExecutionResult:
    config = plan.config
    failure = weigh(seen, Terms(house.now(), config.timeout_sec, config.log_size_limit))
    billing, biller = billing_of(plan.environment.names, seen.transcript.api_key_source)
    asked = Asked(
        now=house.now(),
        model=config.model or "",
        session_params=dict(plan.session_params),
        billing=billing,
        biller=biller,
        continuation_marker=config.continuation_marker,
        clear_session=plan.attempt > 1 and seen.transcript.session_id is None,
    )
    return report(failure, seen, asked)
