"""Metrics for Prometheus. They are created in processes of their own, because their registry is global."""

import json
import re
import subprocess
import sys

import pytest

from paperclip_claude_k8s.instrumentation.metric_table import METRICS
from paperclip_claude_k8s.instrumentation.metrics_server import MAX_CONNECTIONS

FAILED_RUNS = """
import socket, sys, urllib.request
from datetime import UTC, datetime
from paperclip_claude_k8s.instrumentation import PrometheusMetrics, RunEnded, RunInfo, TokenTotals
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
subscriber = PrometheusMetrics(port)
for number in range(3):
    subscriber(RunEnded(
        datetime.now(UTC), RunInfo(number), outcome="failed", error_code="timeout", error_family="",
        error_message="text of an agent", seconds=2.0, phases=(), model="sonnet", provider="", session="",
        cost_usd=0.5, tokens=TokenTotals(1, 2, 3), log=None,
    ))
print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
"""


@pytest.fixture(scope="module")
def page() -> str:
    """Return the page that a host serves to Prometheus after `FAILED_RUNS`."""
    done = subprocess.run([sys.executable, "-c", FAILED_RUNS], capture_output=True, text=True, check=True)
    return done.stdout


def sum_of(page: str, name: str) -> float:
    """Return the sum of all series of this name on the page."""
    return sum(float(found) for found in re.findall(rf"(?m)^{name}(?:\{{.*\}})? (\S+)$", page))


def test_page_shows_the_sums_over_all_runs(page: str) -> None:
    assert sum_of(page, "claude_k8s_runs_total") == 3
    assert sum_of(page, "claude_k8s_cost_usd_total") == 1.5
    assert sum_of(page, "claude_k8s_tokens_total") == 3 * (1 + 2 + 3)
    assert sum_of(page, "claude_k8s_run_duration_seconds_sum") == 6
    assert 'error_type="timeout"' in page
    assert "text of an agent" not in page


def test_every_metric_on_the_page_is_in_the_table_of_metrics(page: str) -> None:
    shown = set(re.findall(r"(?m)^# TYPE (claude_k8s\S+) ", page))
    assert shown <= {metric.prometheus_name for metric in METRICS}
    assert {"claude_k8s_runs_total", "claude_k8s_cost_usd_total", "claude_k8s_tokens_total"} <= shown


CROWD = """
import socket, threading, urllib.error, urllib.request
from paperclip_claude_k8s.instrumentation import metrics_server
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
before = threading.active_count()
metrics_server.serve(port)
idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]  # many more than the limit
for connection in idle[metrics_server.MAX_CONNECTIONS:]:
    assert connection.recv(1) == b"", "a connection beyond the limit is closed"
print(threading.active_count() - before)
for connection in idle[: metrics_server.MAX_CONNECTIONS]:
    assert connection.recv(1) == b"", "a silent connection is closed"
print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").status)
"""


def test_idle_connections_use_few_threads_and_are_closed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CROWD], capture_output=True, text=True, check=True, timeout=60
    )
    threads, status = map(int, done.stdout.split())
    assert threads <= 1 + MAX_CONNECTIONS  # the server's own thread, and one for each connection
    assert status == 200
    assert done.stderr == ""


HOSTS = """
import json, socket, sys
from paperclip_claude_k8s.instrumentation import metrics_server
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
metrics_server.serve(port)
for host in json.loads(sys.argv[1]):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /metrics HTTP/1.0\\r\\n{host}\\r\\n\\r\\n".encode())
        print(connection.recv(100).split()[1].decode())
"""


def test_page_is_refused_if_the_host_header_names_a_web_site() -> None:
    """A web site's own name may lead to this machine, so that its script in a browser can read the page."""
    accepted = [
        "X: no host",
        "Host: localhost",
        "Host: LOCALHOST:9464",
        "Host: 10.0.0.7:80",
        "Host: [::1]:9464",
    ]
    refused = [
        "Host: evil.example",
        "Host: evil.example:9464",
        "Host: 127.0.0.1.evil.example",
        "Host: [",
        "Host: ",
    ]
    done = subprocess.run(
        [sys.executable, "-c", HOSTS, json.dumps(accepted + refused)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["200"] * len(accepted) + ["403"] * len(refused)
