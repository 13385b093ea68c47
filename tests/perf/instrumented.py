"""Adapters with no telemetry, a subscriber, or everything. The rig's driver loads them by name."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from paperclip_claude_k8s import Adapter, create_server_adapter
from paperclip_claude_k8s.instrumentation import OpenTelemetry


class _Discarding(SpanExporter):
    """Exports nothing: a collector's network and disk are not measured."""

    def export(self, _spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def off() -> Adapter:
    """An adapter without a subscriber. Its process has loaded OpenTelemetry's SDK like the others.

    The garbage collector visits the objects of all modules, so a module costs CPU even if nobody uses it.
    """
    return create_server_adapter()


def with_subscriber() -> Adapter:
    """An adapter with a subscriber that does nothing."""
    adapter = create_server_adapter()
    adapter.on_event(lambda _: None)
    return adapter


def with_everything() -> Adapter:
    """An adapter with a span for each run, all metrics, and a batch processor, as a host would have them."""
    adapter, tracers = create_server_adapter(), TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Discarding()))
    adapter.on_event(OpenTelemetry(tracers, MeterProvider([InMemoryMetricReader()])))
    return adapter
