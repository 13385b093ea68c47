"""Metrics for Prometheus: `adapter.on_event(PrometheusMetrics(9464))`. Needs the extra `prometheus`."""

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import REGISTRY, generate_latest

from paperclip_claude_k8s.instrumentation.metrics_server import serve
from paperclip_claude_k8s.instrumentation.open_telemetry import SCOPE, OpenTelemetry

__all__ = ["PrometheusMetrics", "as_text", "prometheus_meter", "prometheus_provider", "serve"]


def prometheus_provider() -> MeterProvider:
    """A provider whose metrics are in the global registry of `prometheus_client`."""
    return MeterProvider([PrometheusMetricReader(disable_target_info=True)])


def prometheus_meter() -> Meter:
    """A meter of `prometheus_provider`."""
    return prometheus_provider().get_meter(SCOPE)


def as_text() -> str:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY).decode().rstrip("\n")


class PrometheusMetrics(OpenTelemetry):
    """A subscriber that serves `/metrics` on loopback, without traces."""

    def __init__(self, port: int) -> None:
        """Raises `OSError` if the port cannot be used."""
        super().__init__(NoOpTracerProvider(), prometheus_provider())
        serve(port)
