"""The session codec, and the decision whether a session is resumed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.session import (
    SESSION_CODEC,
    ResumeDecision,
    decide_resume,
    deserialize,
    display_id,
    serialize,
)

SESSION = "3503d3d8-f6d3-48d8-8566-30c2b0b1b60b"
STORED_PARAMS = st.dictionaries(
    st.sampled_from(["sessionId", "session_id", "cwd", "workdir", "folder", "repoUrl", "repo_ref", "other"]),
    ANY_JSON,
)


async def on_log(stream: str, text: str) -> None:
    pass


def context(session: str | None = None, **params: Any) -> ExecutionContext:
    stored = {"sessionId": session, **params} if params else None
    runtime = {"sessionId": session, "sessionParams": stored}
    return ExecutionContext.read({"runId": "r", "agent": {"id": "a"}, "runtime": runtime, "onLog": on_log})


@pytest.mark.parametrize(
    ("raw", "params"),
    [
        ({"sessionId": " s "}, {"sessionId": "s"}),
        ({"session_id": "s", "workdir": "/w"}, {"sessionId": "s", "cwd": "/w"}),
        ({"sessionId": "s", "folder": "/f"}, {"sessionId": "s", "cwd": "/f"}),
        ({"sessionId": "s", "cwd": " ", "workdir": "/w", "folder": "/f"}, {"sessionId": "s", "cwd": "/w"}),
        ({"sessionId": "", "session_id": "s"}, {"sessionId": "s"}),
        (
            {"sessionId": "s", "repo_url": "u", "repoRef": "main"},
            {"sessionId": "s", "repoUrl": "u", "repoRef": "main"},
        ),
        (
            {"sessionId": "s", "promptBundleKey": "k", "mcpServerIdentity": "m", "workspaceId": "w"},
            {"sessionId": "s", "promptBundleKey": "k", "mcpServerIdentity": "m", "workspaceId": "w"},
        ),
        ({"sessionId": "s", "cwd": 3, "unknown": "x", "__paperclipHost": "y"}, {"sessionId": "s"}),
        ({"cwd": "/w"}, None),
        ({"sessionId": "  "}, None),
        ({"sessionId": 7}, None),
        ({}, None),
        (None, None),
        ("s", None),
        (["s"], None),
    ],
)
def test_session_params_are_read_from_every_spelling_or_are_none(
    raw: object, params: dict[str, str] | None
) -> None:
    assert deserialize(raw) == params
    assert serialize(raw) == params
    assert display_id(raw) == (params["sessionId"] if params else None)


@given(STORED_PARAMS | ANY_JSON)
def test_session_params_survive_a_round_trip(raw: object) -> None:
    params = deserialize(raw)
    assert deserialize(serialize(params)) == params
    assert serialize(serialize(params)) == params


def test_session_codec_has_camel_case_names() -> None:
    raw = {"session_id": "s"}
    assert SESSION_CODEC.deserialize(raw) == SESSION_CODEC.serialize(raw) == {"sessionId": "s"}
    assert SESSION_CODEC.getDisplayId(raw) == SESSION_CODEC.get_display_id(raw) == "s"
    assert SESSION_CODEC.getDisplayId(None) is None


def test_resume_without_a_session_gives_no_reason() -> None:
    assert decide_resume(context(), cwd="/w") == ResumeDecision(None, None)


@pytest.mark.parametrize(
    "ctx",
    [
        context(SESSION),
        context(SESSION.upper()),
        context(SESSION, cwd="/w"),
        context(SESSION, cwd="/w/"),
        context(SESSION, cwd="/w/x/.."),
        context(SESSION, cwd="/w", promptBundleKey="key"),
    ],
)
def test_matching_session_is_resumed(ctx: ExecutionContext) -> None:
    assert decide_resume(ctx, cwd="/w", prompt_bundle_key="key").session_id == ctx.runtime.session_id


@pytest.mark.parametrize(
    ("ctx", "reason"),
    [
        (context("main"), "not a UUID"),
        (context(f"{SESSION} --help"), "not a UUID"),
        (context(SESSION, cwd="/elsewhere"), "(/elsewhere, now /w)"),
        (context(SESSION, promptBundleKey="old"), "bundle changed"),
        (context(SESSION, mcpServerIdentity="old"), "MCP servers changed"),
    ],
)
def test_mismatching_session_is_not_resumed_and_has_a_reason(ctx: ExecutionContext, reason: str) -> None:
    decision = decide_resume(ctx, cwd="/w", prompt_bundle_key="key")
    assert decision.session_id is None
    assert decision.reason is not None
    assert reason in decision.reason


def test_session_that_has_only_its_id_is_resumed() -> None:
    decision = decide_resume(context(SESSION), cwd="/w", prompt_bundle_key="k", mcp_identity="m")
    assert decision.session_id == SESSION


def test_session_is_resumed_only_with_the_same_mcp_servers() -> None:
    assert decide_resume(context(SESSION, cwd="/w"), cwd="/w", mcp_identity="").session_id == SESSION
    assert decide_resume(context(SESSION, cwd="/w"), cwd="/w", mcp_identity="new").session_id is None
    same = context(SESSION, cwd="/w", mcpServerIdentity="m")
    assert decide_resume(same, cwd="/w", mcp_identity="m").session_id == SESSION


def test_session_with_a_prompt_bundle_is_not_resumed_without_one() -> None:
    assert decide_resume(context(SESSION, promptBundleKey="old"), cwd="/w").session_id is None
