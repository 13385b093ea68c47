"""Ids with characters that UTF-8 cannot encode, lone surrogates, end no run with an exception."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, assert_whole, one_host

SURROGATE = "a\ud800"
TRACED = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
MEASURED = {"config": {"env": {"CLAUDE_CODE_ENABLE_TELEMETRY": "1"}}}


@pytest.mark.looptime
@pytest.mark.parametrize("more", [TRACED, MEASURED, {}], ids=["traced", "measured", "plain"])
@pytest.mark.parametrize("field", ["runId", "id", "companyId", "name"])
async def test_run_with_an_unencodable_id_succeeds(field: str, more: dict[str, Any], tmp_path: Path) -> None:
    agent = {"id": "agent-1", "companyId": "company-1", "name": "Ada"}
    ids = {"runId": SURROGATE} if field == "runId" else {"agent": {**agent, field: SURROGATE}}
    async with one_host(tmp_path, GOOD) as (_, run):
        assert_whole(*await run(**ids, **more))
