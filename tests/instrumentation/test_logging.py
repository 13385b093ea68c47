"""Log records: what is logged at which level, with which attributes, and without secrets."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.hosts import Host
from tests.support.in_memory_runs import GOOD, PARTIAL, two_hosts

from paperclip_claude_k8s.instrumentation import EVENT_TYPES, LogGap, RunEnded, RunInfo, RunLaunched
from paperclip_claude_k8s.instrumentation.event_logging import MAX_CHARS, attributes, log_event
from paperclip_claude_k8s.instrumentation.event_types import Outcome
from paperclip_claude_k8s.instrumentation.json_formatter import json_line
from paperclip_claude_k8s.testing import FakeCluster, PodScript

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = RunInfo(
    execution=1,
    run_id="run-1",
    agent_id="agent-1",
    agent_name="Ada",
    company_id="co",
    namespace="ns",
    job="job-1",
)
LAUNCHED = RunLaunched(
    NOW, RUN, job_uid="uid", image="image:1", model="sonnet", resumed_session="", attempt=1
)
CANARY = "sk-ant-c4n4ry-0123456789abcdef"


def run_ended(outcome: Outcome, family: str = "") -> RunEnded:
    """Return an event with this outcome and error family. Its error message must not be logged."""
    return RunEnded(
        at=NOW,
        run=RUN,
        outcome=outcome,
        error_code="k8s_x" if outcome == "failed" else "",
        error_family=family,
        error_message=CANARY,
        seconds=1.0,
        phases=(),
        model="m",
        provider="",
        session="",
        cost_usd=0.5,
        tokens=None,
        log=None,
    )


@pytest.mark.looptime
async def test_good_run_logs_three_lines_at_info(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with FakeCluster.start(tmp_path, GOOD) as fake:
        host = Host(fake, "host-one")
        await host.run()
        await host.adapter.shutdown()
    lines = [(record.levelname, record.event) for record in caplog.records]  # type: ignore[attr-defined]
    assert lines == [("INFO", "RunLaunched"), ("INFO", "AgentStarted"), ("INFO", "RunEnded")]
    assert all(record.run_id == "run-1" for record in caplog.records)  # type: ignore[attr-defined]
    assert {record.namespace for record in caplog.records} == {"paperclip"}  # type: ignore[attr-defined]


@pytest.mark.looptime
async def test_no_level_logs_a_secret_and_only_debug_logs_text_of_the_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "paperclip_claude_k8s")
    script = PodScript(output=((0.0, PARTIAL + b"the agent wrote this\n"),), exit_code=1)
    token = "token-c4n4ry-without-a-shape"
    async with two_hosts(tmp_path, script) as (_, host, _):
        config = {"env": {"MY_KEY": CANARY}, "extraArgs": ["--append-system-prompt", f"use {CANARY}"]}
        await host.run(config=config, authToken=token)
    logged = "\n".join(json_line(record, mask=str) for record in caplog.records)  # `str` masks nothing
    assert "ApiRequest" in logged
    assert CANARY not in logged
    assert token not in logged
    above_debug = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert above_debug
    assert "the agent wrote" not in "".join(json_line(record, mask=str) for record in above_debug)


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (LAUNCHED, logging.INFO),
        (run_ended("succeeded"), logging.INFO),
        (run_ended("failed", "transient_upstream"), logging.INFO),
        (run_ended("failed"), logging.WARNING),
        (run_ended("crashed"), logging.WARNING),
        (run_ended("cancelled"), logging.INFO),
        (LogGap(NOW, RUN, missing_bytes=10, missing_lines=1, restored=False), logging.WARNING),
        (LogGap(NOW, RUN, missing_bytes=10, missing_lines=1, restored=True), logging.DEBUG),
    ],
)
def test_event_is_a_warning_if_a_person_must_act(
    event: RunEnded, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log_event(event)
    (record,) = caplog.records
    assert record.levelno == level
    assert level <= type(event).LEVEL, "no event is created if the LEVEL of its class is not logged"


def test_error_message_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log_event(run_ended("failed"))
    assert CANARY not in caplog.text + str([vars(record) for record in caplog.records])


def test_record_with_a_hostile_run_id_is_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hostile = RunInfo(run_id="r\n2026 ERROR forged\x1b[2J" + "x" * 5000)
    log_event(replace(LAUNCHED, run=hostile))
    assert "\n" not in caplog.records[0].getMessage()
    assert "\x1b" not in caplog.records[0].getMessage()
    assert len(caplog.records[0].getMessage()) <= MAX_CHARS


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_event_fields_have_other_names_than_standard_attributes_of_records(kind: type) -> None:
    names = set(kind.__dataclass_fields__) - {"at", "run"}  # type: ignore[attr-defined]
    assert not names & set(vars(logging.LogRecord("", 0, "", 0, "", (), None)))
    assert not names & {"time", "level", "logger", "message", "error", "event"}


def test_json_line_has_the_masked_attributes() -> None:
    record = logging.LogRecord("paperclip_claude_k8s.runs", logging.INFO, "", 1, "text", (), None)
    vars(record).update(attributes(LAUNCHED))
    line = json.loads(json_line(record, mask=str.upper))
    assert (line["level"], line["message"], line["event"]) == ("INFO", "TEXT", "RUNLAUNCHED")
    assert (line["run_id"], line["job"], line["attempt"]) == ("RUN-1", "JOB-1", 1)


def test_library_without_configured_logging_prints_nothing() -> None:
    code = "import logging, paperclip_claude_k8s as p; logging.getLogger(p.__name__ + '.x').error('bug')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
