"""Pure functions of the environment test: the clock skew, and the objects that a Job refers to."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON
from tests.support.objects import a_job
from tests.support.plans import a_plan, the_job

from paperclip_claude_k8s.checks.dry_run import skew_of
from paperclip_claude_k8s.checks.observations import DryRun
from paperclip_claude_k8s.checks.references import References, references

SECONDS = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)
RUN_SECRET = "run-secret"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@given(
    ahead=SECONDS,
    request_delay=st.floats(min_value=0, max_value=60),
    response_delay=st.floats(min_value=0, max_value=60),
    fraction=st.floats(min_value=0, max_value=1),
)
def test_reported_skew_is_at_most_the_true_skew_and_close_to_it(
    ahead: float, request_delay: float, response_delay: float, fraction: float
) -> None:
    """The server's clock is `ahead` seconds ahead. The server stamps the Job with whole seconds."""
    requested = NOON + timedelta(seconds=fraction)
    stamped = (requested + timedelta(seconds=request_delay + ahead)).replace(microsecond=0)
    responded = requested + timedelta(seconds=request_delay + response_delay)
    skew = skew_of(DryRun(a_job(created=stamped), requested, responded))
    assert skew is not None
    reported, rounding = skew.total_seconds(), 1e-3
    has_sign_of_ahead = reported * ahead >= 0
    assert abs(reported) <= abs(ahead) + rounding
    assert has_sign_of_ahead or abs(reported) <= rounding
    assert abs(reported - ahead) <= request_delay + response_delay + 1 + rounding


def test_job_without_creation_time_has_no_skew() -> None:
    assert skew_of(DryRun(a_job(created=None), NOON, NOON)) is None


def _references_of(**spec: Any) -> References:
    return references({"spec": {"template": {"spec": spec}}}, RUN_SECRET)


def test_references_finds_secrets_and_claims_everywhere() -> None:
    container = {
        "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "no-secret"}}],
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "k"}}}],
    }
    volumes = [
        {"name": "a", "secret": {"secretName": "files"}},
        {"name": "b", "projected": {"sources": [{"secret": {"name": "part"}}]}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "d", "emptyDir": {}},
    ]
    found = _references_of(
        containers=[container],
        initContainers=[{"envFrom": [{"secretRef": {"name": "early"}}]}],
        volumes=volumes,
        imagePullSecrets=[{"name": "registry"}],
    )
    secrets = ("all", "early", "files", "one", "part")
    assert found == References(
        secrets, pull_secrets=("registry",), claims=("data",), secret_keys=(("one", "k"),)
    )


def test_references_skips_run_secret_and_optional_secrets() -> None:
    env = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": RUN_SECRET, "key": "k"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "maybe", "key": "k", "optional": True}}},
    ]
    assert _references_of(containers=[{"env": env}]) == References()


def test_job_without_home_pod_refers_only_to_its_run_secret() -> None:
    plan = a_plan(home=None)
    assert references(the_job(home=None), plan.secret_name) == References()


@given(ANY_JSON)
def test_references_accepts_any_manifest(spec: Any) -> None:
    references({"spec": {"template": {"spec": spec}}}, RUN_SECRET)
