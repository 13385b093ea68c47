import asyncio
import uuid
from typing import Any

import pytest

from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext


async def on_log(stream: str, text: str) -> None:
    pass


def minimal(**more: Any) -> dict[str, Any]:
    return {"runId": "run-1", "agent": {"id": "agent-1"}, "onLog": on_log, **more}


def test_camel_case_and_snake_case_are_read() -> None:
    camel = ExecutionContext.read(minimal(authToken="t", runtime={"sessionId": "s"}))
    snake = ExecutionContext.read(
        {
            "run_id": "run-1",
            "agent": {"id": "agent-1"},
            "on_log": on_log,
            "auth_token": "t",
            "runtime": {"session_id": "s"},
        }
    )
    assert camel == snake


def test_both_spellings_at_once_are_no_reason_to_refuse() -> None:
    ctx = ExecutionContext.read(minimal(on_log=on_log, run_id="other"))
    assert ctx.run_id == "run-1"


def test_unknown_fields_and_nulls_are_the_hosts_business() -> None:
    ctx = ExecutionContext.read(
        minimal(config=None, context=None, runtime=None, executionTransport=None, stopRemoteStartup=object())
    )
    assert (ctx.config, ctx.context, ctx.runtime.session_id) == ({}, {}, None)


def test_ids_may_be_uuids_or_numbers() -> None:
    run = uuid.uuid4()
    assert ExecutionContext.read(minimal(runId=run)).run_id == str(run)
    assert ExecutionContext.read(minimal(runId=7)).run_id == "7"


def test_an_asyncio_event_will_do_as_signal() -> None:
    event = asyncio.Event()
    assert ExecutionContext.read(minimal(signal=event)).signal is event


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"runId": None}, "ctx.runId"),
        ({"runId": "  "}, "ctx.runId"),
        ({"agent": {}}, "ctx.agent.id"),
        ({"agent": None}, "ctx.agent"),
        ({"onLog": "print"}, "ctx.onLog"),
        ({"config": "x"}, "ctx.config"),
        ({"signal": 3}, "ctx.signal"),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_what_is_expected(broken: dict[str, Any], told: str) -> None:
    with pytest.raises(ContextInvalid) as caught:
        ExecutionContext.read(minimal(**broken))
    assert str(caught.value).startswith(told)
    assert "expected" in str(caught.value)


def test_a_context_without_run_id_says_what_it_is() -> None:
    with pytest.raises(ContextInvalid, match="ctx.runId is missing: expected the host's id of this run"):
        ExecutionContext.read({"agent": {"id": "a"}, "onLog": on_log})


def test_something_that_is_no_mapping_is_refused_in_words() -> None:
    with pytest.raises(ContextInvalid, match="mapping"):
        ExecutionContext.read(5)  # type: ignore[arg-type]


def test_secrets_do_not_show_in_its_repr() -> None:
    ctx = ExecutionContext.read(
        minimal(authToken="canary-1", config={"env": {"K": "canary-2"}}, context={"x": "canary-3"})
    )
    assert "canary" not in repr(ctx)
