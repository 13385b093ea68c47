"""The page about observability: its alert rules and the dashboard use metrics that exist."""

import json
import re

import pytest
import yaml

from paperclip_claude_k8s.docs import FOLDER
from paperclip_claude_k8s.instrumentation.metric_table import METRICS
from paperclip_claude_k8s.instrumentation.open_telemetry import SPAN_EVENTS

PAGE = (FOLDER / "observability.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", PAGE)]
RULES = [rule for block in BLOCKS for group in block.get("groups", ()) for rule in group["rules"]]
PANELS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*((rule["alert"], rule["expr"]) for rule in RULES), *PANELS]
SUFFIXES = ("_bucket", "_sum", "_count")


def _known_labels() -> dict[str, set[str]]:
    """Return the labels of every series by its name in Prometheus."""
    known: dict[str, set[str]] = {}
    for metric in METRICS:
        labels = {name.replace(".", "_") for name in metric.attributes}
        names = [metric.prometheus_name]
        if metric.kind == "histogram":
            names = [metric.prometheus_name + suffix for suffix in SUFFIXES]
        known |= dict.fromkeys(names, labels)
    return known


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_expression_uses_metrics_and_labels_of_the_table(title: str, expression: str) -> None:
    known, used = _known_labels(), re.findall(r"(claude_k8s_\w+)(?:\{([^}]*)\})?", expression)
    assert used, title
    for name, matchers in used:
        assert name in known, title
        assert set(re.findall(r"(\w+)(?:=|!=|=~)\"", matchers)) <= known[name], title


def test_every_metric_except_the_log_lines_is_on_the_dashboard() -> None:
    shown = " ".join(expression for _, expression in PANELS)
    assert {metric.name for metric in METRICS if metric.prometheus_name not in shown} == {
        "claude_k8s.log.lines"
    }


def test_page_names_every_span_event() -> None:
    assert {name for name in SPAN_EVENTS.values() if f"`{name}`" not in PAGE} == set()


def test_pipelines_of_the_collector_use_components_that_are_configured() -> None:
    (config,) = (block for block in BLOCKS if "receivers" in block)
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])
