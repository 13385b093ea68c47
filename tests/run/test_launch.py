"""What is checked before a Job is created, and the warnings of the server about the new Job."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, one_host

pytestmark = pytest.mark.looptime
TOO_LONG = 128 * 1024
"""Linux refuses to start a process with an argument or a variable of this many bytes."""


async def test_warnings_about_the_new_job_are_reported(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        text = 'unknown field "spec.template.spec.containers[0].resorces"'
        fake.faults.warnings.append(text)
        result, host_log = await run()
        assert result.error_message is None
        assert host_log.status.count(f"The API server warns about the Job: {text}") == 1


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"extraArgs": ["--note", "x" * TOO_LONG]}, "extraArgs"),
        ({"model": "m" * TOO_LONG}, "model"),
        (
            {
                "podTemplate": {
                    "spec": {"containers": [{"name": "db", "image": "i", "args": ["x" * TOO_LONG]}]}
                }
            },
            "podTemplate",
        ),
        (
            {
                "podTemplate": {
                    "spec": {
                        "containers": [{"name": "claude", "env": [{"name": "A", "value": "x" * TOO_LONG}]}]
                    }
                }
            },
            "podTemplate",
        ),
    ],
)
async def test_value_that_linux_refuses_is_reported_before_a_job_is_created(
    tmp_path: Path, config: dict[str, Any], key: str
) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, _ = await run(config=config)
        assert result.error_code == "k8s_config_invalid"
        assert f"config.{key}: a value has 128 KiB or more" in (result.error_message or "")
        assert fake.calls.count("create", "jobs") == 0


async def test_value_that_linux_just_accepts_is_passed_on(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        result, _ = await run(config={"extraArgs": ["x" * (TOO_LONG - 1)]})
        assert result.error_message is None


@pytest.mark.parametrize(("seconds", "shown"), [(300, "300s"), (0, "none")])
async def test_status_line_of_a_new_job_shows_the_configured_time_limit(
    tmp_path: Path, seconds: int, shown: str
) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        _, host_log = await run(config={"timeoutSec": seconds})
        assert f"in namespace paperclip (deadline: {shown})" in host_log.status
