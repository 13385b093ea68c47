"""Spans and metrics of whole runs, collected by the in-memory exporters of OpenTelemetry's SDK."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.support.hosts import Host, jobs, started
from tests.support.in_memory_runs import LONG, PARTIAL, SLOW_START, WHOLE

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.instrumentation import OpenTelemetry, RunEnded, RunInfo
from paperclip_claude_k8s.instrumentation.metric_table import METRICS
from paperclip_claude_k8s.instrumentation.run_metrics import MAX_MODELS, MAX_MODELS_OF_AGENT, RunMetrics
from paperclip_claude_k8s.testing import FakeCluster, PodScript

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@dataclass
class Telemetry:
    """Providers of the OpenTelemetry SDK whose exporters keep everything in memory."""

    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def create_subscriber(self) -> OpenTelemetry:
        self.tracers, self.meters = TracerProvider(), MeterProvider([self.reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        return OpenTelemetry(self.tracers, self.meters)

    def roots(self) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.kind is SpanKind.CLIENT]

    def children(self, root: ReadableSpan) -> dict[str, float]:
        """Return the duration of each child span in seconds by its name, in the order of their starts."""
        of_root = [
            span for span in self.spans.get_finished_spans() if _parent_span_id(span) == _span_id(root)
        ]
        of_root.sort(key=lambda span: (span.start_time or 0, span.end_time or 0))
        return {span.name: ((span.end_time or 0) - (span.start_time or 0)) / 1e9 for span in of_root}

    def values(self, metric: str) -> dict[tuple[Any, ...], float]:
        """Return the value of each data point, or the sum of a histogram, by its sorted attributes."""
        data = self.reader.get_metrics_data()
        points = [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for exported in scope.metrics
            if exported.name == metric
            for point in exported.data.data_points
        ]
        return {
            tuple(sorted((point.attributes or {}).items())): getattr(point, "value", getattr(point, "sum", 0))
            for point in points
        }

    def total(self, metric: str) -> float:
        return sum(self.values(metric).values())


def env_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return name and value of each variable of the agent's container."""
    variables = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return {variable["name"]: variable.get("value") for variable in variables}


def _span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return context.span_id if context else 0


def _parent_span_id(span: ReadableSpan) -> int:
    return span.parent.span_id if span.parent else 0


@asynccontextmanager
async def traced_host(folder: Path, script: PodScript) -> AsyncIterator[tuple[FakeCluster, Host, Telemetry]]:
    async with FakeCluster.start(folder, script) as fake:
        host, telemetry = Host(fake, "host-one"), Telemetry()
        host.adapter.on_event(telemetry.create_subscriber())
        yield fake, host, telemetry
        await host.adapter.shutdown()


async def run_once(folder: Path, script: PodScript, **more: Any) -> tuple[ExecutionResult, Telemetry]:
    async with traced_host(folder, script) as (_, host, telemetry):
        result, _ = await host.run(**more)
    return result, telemetry


@pytest.mark.looptime
async def test_successful_run_has_a_span_with_its_phases_as_children(tmp_path: Path) -> None:
    result, telemetry = await run_once(tmp_path, SLOW_START)
    (root,) = telemetry.roots()
    children = telemetry.children(root)
    assert list(children) == ["schedule", "pull", "start", "run", "complete"]
    assert children["pull"] == pytest.approx(5, abs=0.5)  # both are in `SLOW_START`
    assert children["start"] == pytest.approx(3, abs=0.5)
    assert result.result_json is not None
    assert children["run"] == pytest.approx(result.result_json["phases"]["run"] / 1000, abs=0.01)
    assert root.parent is None
    assert root.status.status_code is StatusCode.UNSET


@pytest.mark.looptime
async def test_span_has_attributes_of_kubernetes_and_model(tmp_path: Path) -> None:
    agent = {"id": "agent-1", "name": "Ada", "companyId": "co"}
    result, telemetry = await run_once(tmp_path, SLOW_START, agent=agent)
    (root,) = telemetry.roots()
    attributes = dict(root.attributes or {})
    assert root.name == "invoke_agent Ada"
    assert result.usage is not None
    assert attributes["k8s.namespace.name"] == "paperclip"
    assert str(attributes["k8s.job.name"]).startswith("ac-")
    assert {"k8s.job.uid", "k8s.pod.name", "k8s.pod.uid", "k8s.node.name"} <= attributes.keys()
    expected = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.agent.id": "agent-1",
        "gen_ai.agent.name": "Ada",
        "gen_ai.response.model": result.model,
        "gen_ai.conversation.id": result.session_id,
        "gen_ai.usage.input_tokens": result.usage.input_tokens + result.usage.cached_input_tokens,
        "gen_ai.usage.output_tokens": result.usage.output_tokens,
        "claude_k8s.run.id": "run-1",
        "claude_k8s.company.id": "co",
        "claude_k8s.cost_usd": result.cost_usd,
        "claude_k8s.outcome": "succeeded",
        "container.image.name": "x",
    }
    assert expected.items() <= attributes.items()


@pytest.mark.looptime
async def test_metrics_equal_the_sums_of_the_results(tmp_path: Path) -> None:
    async with traced_host(tmp_path, SLOW_START) as (_, host, telemetry):
        results = [(await host.run(runId=f"run-{number}"))[0] for number in range(3)]
    usages = [result.usage for result in results if result.usage is not None]
    assert telemetry.values("claude_k8s.runs") == {(("outcome", "succeeded"),): 3}
    assert telemetry.total("claude_k8s.runs.active") == telemetry.total("claude_k8s.runs.queued") == 0
    assert telemetry.total("claude_k8s.cost.usd") == pytest.approx(sum(r.cost_usd or 0 for r in results))
    assert telemetry.total("claude_k8s.log.io") == 3 * len(WHOLE)
    assert telemetry.total("claude_k8s.log.lines") == 3 * WHOLE.count(b"\n")
    tokens = {
        dict(key)["gen_ai.token.type"]: value for key, value in telemetry.values("claude_k8s.tokens").items()
    }
    assert tokens == {
        "input": sum(usage.input_tokens for usage in usages),
        "output": sum(usage.output_tokens for usage in usages),
        "cache_read": sum(usage.cached_input_tokens for usage in usages),
    }
    phases = {dict(key)["phase"] for key in telemetry.values("claude_k8s.run.phase.duration")}
    assert phases == {"queue", "schedule", "pull", "start", "run", "complete"}


@pytest.mark.looptime
async def test_requests_are_measured_by_verb_and_resource(tmp_path: Path) -> None:
    async with traced_host(tmp_path, SLOW_START) as (fake, host, telemetry):
        fake.faults.refuse("create", "jobs", 503)
        await host.run()
    seen = telemetry.values("claude_k8s.api.request.duration")
    assert (("k8s.resource", "jobs"), ("k8s.verb", "create")) in seen
    assert (("error.type", "503"), ("k8s.resource", "jobs"), ("k8s.verb", "create")) in seen


@pytest.mark.looptime
async def test_span_of_a_failed_run_has_an_error_status_with_the_error_code(tmp_path: Path) -> None:
    script = PodScript(output=((0.0, PARTIAL),), ends_at=1.0, exit_code=1)
    result, telemetry = await run_once(tmp_path, script)
    (root,) = telemetry.roots()
    assert root.status.status_code is StatusCode.ERROR
    assert root.status.description == result.error_code == (root.attributes or {})["error.type"]
    key = (("error.type", result.error_code), ("outcome", "failed"))
    assert telemetry.values("claude_k8s.runs") == {key: 1}


@pytest.mark.looptime
async def test_span_of_a_cancelled_run_has_no_error_status(tmp_path: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(20, stop.set)
    _, telemetry = await run_once(tmp_path, LONG, signal=stop)
    (root,) = telemetry.roots()
    assert root.status.status_code is StatusCode.UNSET
    assert root.events[0].name == "run.stopping"
    assert telemetry.values("claude_k8s.runs") == {(("outcome", "cancelled"),): 1}


@pytest.mark.looptime
async def test_span_of_an_adopting_run_links_to_the_span_of_the_first_run(tmp_path: Path) -> None:
    async with traced_host(tmp_path, LONG) as (fake, one, telemetry):
        two = Host(fake, "host-two")
        two.adapter.on_event(OpenTelemetry(telemetry.tracers, telemetry.meters))
        async with started(one) as task:
            task.cancel()
            await asyncio.sleep(1)
            await two.run(runId="run-2")
        await two.adapter.shutdown()
    first, second = sorted(telemetry.roots(), key=lambda span: span.start_time or 0)
    assert (first.attributes or {})["claude_k8s.outcome"] == "detached"
    assert [link.context.span_id for link in second.links] == [_span_id(first)]
    assert [event.name for event in second.events] == ["run.adopted"]
    assert telemetry.total("claude_k8s.adoptions") == 1


@pytest.mark.looptime
async def test_reconnects_are_a_span_event_and_are_counted(tmp_path: Path) -> None:
    async with traced_host(tmp_path, LONG) as (_, host, telemetry), started(host) as task:
        host.disconnect()
        await asyncio.sleep(10)
        host.connection.restore()
        result, _ = await task
    (root,) = telemetry.roots()
    assert "log.reconnecting" in [event.name for event in root.events]
    assert result.result_json is not None
    assert telemetry.total("claude_k8s.log.reconnects") == result.result_json["log"]["reconnects"]
    assert telemetry.total("claude_k8s.watch.failures") == 2  # the watches of Jobs and of Pods


@pytest.mark.looptime
@pytest.mark.parametrize("traceparent", [PARENT, "", "00-broken", 7])
async def test_valid_trace_context_of_the_host_is_the_spans_parent(
    traceparent: object, tmp_path: Path
) -> None:
    async with (
        traced_host(tmp_path, LONG) as (fake, host, telemetry),
        started(host, traceparent=traceparent),
    ):
        (job,) = jobs(fake)
    (root,) = telemetry.roots()
    if traceparent == PARENT:
        assert root.parent is not None
        assert f"{root.parent.trace_id:032x}" == TRACE
    else:
        assert root.parent is None
    env = env_of(job)
    context = root.get_span_context()
    assert context is not None
    assert env["TRACEPARENT"].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    ids = "claude_k8s.run.id=run-1,gen_ai.agent.id=agent-1,claude_k8s.company.id=co"
    assert env["OTEL_RESOURCE_ATTRIBUTES"] == ids
    assert job["metadata"]["annotations"]["paperclip.io/traceparent"] == env["TRACEPARENT"]


@pytest.mark.looptime
async def test_trace_context_of_the_host_reaches_the_pod_without_opentelemetry(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, LONG) as fake:
        host = Host(fake, "host-one")
        async with started(host, traceparent=PARENT, tracestate="vendor=1"):
            (job,) = jobs(fake)
        await host.adapter.shutdown()
    env = env_of(job)
    assert (env["TRACEPARENT"], env["TRACESTATE"]) == (PARENT, "vendor=1")


@pytest.mark.looptime
async def test_pod_of_a_run_without_a_trace_has_no_trace_variables(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, LONG) as fake:
        host = Host(fake, "host-one")
        async with started(host):
            (job,) = jobs(fake)
        await host.adapter.shutdown()
    assert not env_of(job).keys() & {"TRACEPARENT", "TRACESTATE", "OTEL_RESOURCE_ATTRIBUTES"}


@pytest.mark.parametrize("library", ["opentelemetry", "prometheus_client"])
def test_adapter_without_telemetry_loads_no_telemetry_library(library: str) -> None:
    code = (
        "import sys, paperclip_claude_k8s as p, paperclip_claude_k8s.instrumentation as i;"
        "p.create_server_adapter().on_event(print).close(); i.RunEnded;"
        f"sys.exit({library!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_metrics_of_the_table_can_be_created_and_have_different_names() -> None:
    Telemetry().create_subscriber()
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def run_ended(agent: str, model: str) -> RunEnded:
    """The event of a run that succeeded and cost 1 dollar."""
    return RunEnded(
        at=datetime(2026, 1, 1, tzinfo=UTC),
        run=RunInfo(agent_id=agent),
        outcome="succeeded",
        error_code="",
        error_family="",
        error_message="",
        seconds=1.0,
        phases=(),
        model=model,
        provider="",
        session="",
        cost_usd=1.0,
        tokens=None,
        log=None,
    )


def test_number_of_models_in_attributes_is_limited() -> None:
    telemetry = Telemetry()
    telemetry.create_subscriber()
    metrics = RunMetrics(telemetry.meters.get_meter("x"))
    for number in range(MAX_MODELS + 20):
        metrics.record_end(run_ended(f"a{number}", f"model-{number}"))
    assert len(telemetry.values("claude_k8s.cost.usd")) == MAX_MODELS + 1  # the last one is "other"
    assert telemetry.total("claude_k8s.cost.usd") == MAX_MODELS + 20


def test_models_that_one_agent_invents_leave_room_for_those_of_others() -> None:
    telemetry = Telemetry()
    telemetry.create_subscriber()
    metrics = RunMetrics(telemetry.meters.get_meter("x"))
    invented = [("bad", f"invented-{number}") for number in range(MAX_MODELS)]
    for agent, model in [*invented, ("ada", "claude-sonnet-4-5"), ("bad", "claude-sonnet-4-5"), ("bad", "")]:
        metrics.record_end(run_ended(agent, model))
    costs = {
        dict(key)["gen_ai.response.model"]: cost
        for key, cost in telemetry.values("claude_k8s.cost.usd").items()
    }
    assert (costs["claude-sonnet-4-5"], costs["unknown"]) == (2, 1)
    assert costs["other"] == MAX_MODELS - MAX_MODELS_OF_AGENT  # one dollar for each of the further models
