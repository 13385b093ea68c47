"""Reading the host's context: spellings, absent fields, and errors that name the field."""

import asyncio
import uuid
from typing import Any

import pytest

from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext


async def on_log(stream: str, text: str) -> None:
    pass


def minimal_context(**more: Any) -> dict[str, Any]:
    return {"runId": "run-1", "agent": {"id": "agent-1"}, "onLog": on_log, **more}


def test_context_reads_camel_case_and_snake_case() -> None:
    camel = ExecutionContext.read(minimal_context(authToken="t", runtime={"sessionId": "s"}))
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


def test_context_with_both_spellings_uses_camel_case() -> None:
    ctx = ExecutionContext.read(minimal_context(on_log=on_log, run_id="other"))
    assert ctx.run_id == "run-1"


def test_context_ignores_unknown_fields_and_reads_null_as_absent() -> None:
    ctx = ExecutionContext.read(
        minimal_context(
            config=None, context=None, runtime=None, executionTransport=None, stopRemoteStartup=object()
        )
    )
    assert (ctx.config, ctx.context, ctx.runtime.session_id) == ({}, {}, None)


def test_context_id_may_be_a_uuid_or_a_number() -> None:
    run = uuid.uuid4()
    assert ExecutionContext.read(minimal_context(runId=run)).run_id == str(run)
    assert ExecutionContext.read(minimal_context(runId=7)).run_id == "7"


def test_context_signal_may_be_an_asyncio_event() -> None:
    event = asyncio.Event()
    assert ExecutionContext.read(minimal_context(signal=event)).signal is event


@pytest.mark.parametrize(
    ("wrong", "start"),
    [
        ({"runId": None}, "ctx.runId"),
        ({"runId": "  "}, "ctx.runId"),
        ({"agent": {}}, "ctx.agent.id"),
        ({"agent": None}, "ctx.agent"),
        ({"agent": {"id": "a", "companyId": ""}}, "ctx.agent.companyId"),
        ({"agent": {"id": "a", "companyId": "  "}}, "ctx.agent.companyId"),
        ({"onLog": "print"}, "ctx.onLog"),
        ({"config": "x"}, "ctx.config"),
        ({"signal": 3}, "ctx.signal"),
    ],
)
def test_context_error_names_field_and_expectation(wrong: dict[str, Any], start: str) -> None:
    with pytest.raises(ContextInvalid) as caught:
        ExecutionContext.read(minimal_context(**wrong))
    assert str(caught.value).startswith(start)
    assert "expected" in str(caught.value)


def test_context_without_run_id_is_an_error_that_explains_it() -> None:
    with pytest.raises(
        ContextInvalid, match="ctx.runId is missing: expected the id that the host gave this run"
    ):
        ExecutionContext.read({"agent": {"id": "a"}, "onLog": on_log})


def test_context_that_is_a_number_raises_context_invalid() -> None:
    with pytest.raises(ContextInvalid, match="mapping"):
        ExecutionContext.read(5)  # type: ignore[arg-type]


def test_context_repr_has_no_secrets() -> None:
    ctx = ExecutionContext.read(
        minimal_context(authToken="canary-1", config={"env": {"K": "canary-2"}}, context={"x": "canary-3"})
    )
    assert "canary" not in repr(ctx)
