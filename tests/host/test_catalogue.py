"""Models and quota, asked of a server that answers well, badly or never."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.api_server import Handler, serving, silent

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.host.anthropic import AnthropicApi, AnthropicError
from paperclip_claude_k8s.host.catalogue import Catalogue, skill_snapshot
from paperclip_claude_k8s.host.models import BEDROCK, DIRECT

KEY = "sk-ant-canary-0123456789"
USUAL = Timings(anthropic=60.0, models_known=60.0)
"""However busy this machine is, a server that answers does so in time."""
BRISK = Timings(anthropic=0.3)
"""For a server that never answers: a limit that a test can wait for."""
FIXED = [model.to_wire() for model in DIRECT]
LISTED = {"data": [{"id": "claude-next", "display_name": "Claude Next"}]}


@dataclass
class Anthropic:
    """Answers with `body` and remembers what it was asked."""

    body: object = field(default_factory=dict)
    status: int = 200
    refused: tuple[str, ...] = ()
    asked: list[web.Request] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") in self.refused:
            return web.json_response({"error": {"message": "no"}}, status=403)
        return web.json_response(self.body, status=self.status)


@asynccontextmanager
async def asking(handler: Handler, **env: str) -> AsyncIterator[Catalogue]:
    async with serving(handler) as url:
        yield Catalogue(env, BRISK if handler is silent else USUAL, url)


def ids(models: list[dict[str, Any]]) -> list[str]:
    return [model["id"] for model in models]


async def test_with_an_api_key_the_live_list_comes_first() -> None:
    api = Anthropic(LISTED)
    async with asking(api, ANTHROPIC_API_KEY=KEY) as catalogue:
        assert catalogue.models == FIXED
        assert await catalogue.list_models() == [{"id": "claude-next", "label": "Claude Next"}, *FIXED]
    (request,) = api.asked
    assert request.path_qs == "/v1/models?limit=1000"
    assert request.headers["x-api-key"] == KEY
    assert request.headers["anthropic-version"] == "2023-06-01"


async def test_the_list_is_asked_for_once_a_minute_and_whenever_it_is_refreshed() -> None:
    api = Anthropic(LISTED)
    async with asking(api, ANTHROPIC_API_KEY=KEY) as catalogue:
        for _ in range(3):
            await catalogue.list_models()
        assert len(api.asked) == 1
        api.body = {"data": [{"id": "claude-newer"}]}
        assert ids(await catalogue.refresh_models())[0] == "claude-newer"
        assert ids(await catalogue.list_models())[0] == "claude-newer"
        assert len(api.asked) == 2


async def test_what_was_known_outlives_a_failure() -> None:
    api = Anthropic(LISTED)
    async with asking(api, ANTHROPIC_API_KEY=KEY) as catalogue:
        await catalogue.list_models()
        api.status = 500
        assert ids(await catalogue.refresh_models())[0] == "claude-next"


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"ANTHROPIC_API_KEY": " "},
        {"ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_USE_BEDROCK": "1"},
    ],
)
async def test_without_a_key_or_on_bedrock_nobody_is_asked(env: dict[str, str]) -> None:
    api = Anthropic(LISTED)
    async with asking(api, **env) as catalogue:
        fixed = [model.to_wire() for model in (BEDROCK if "CLAUDE_CODE_USE_BEDROCK" in env else DIRECT)]
        assert await catalogue.list_models() == fixed
        assert await catalogue.refresh_models() == fixed
    assert api.asked == []


async def broken(_: web.Request) -> web.Response:
    return web.Response(text="<html>", content_type="text/html")


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(40):
        await answer.write(b" " * 64 * 1024)
    return answer


async def elsewhere(_: web.Request) -> web.Response:
    raise web.HTTPFound("http://169.254.169.254/")


@pytest.mark.parametrize(
    "handler", [silent, broken, endless, elsewhere, Anthropic(LISTED, 401), Anthropic([])]
)
async def test_every_failure_falls_back_to_the_fixed_list_in_time(handler: Handler) -> None:
    async with asking(handler, ANTHROPIC_API_KEY=KEY) as catalogue, asyncio.timeout(50):
        assert await catalogue.list_models() == FIXED


async def test_a_server_that_is_not_there_is_no_reason_to_fail() -> None:
    catalogue = Catalogue({"ANTHROPIC_API_KEY": KEY}, USUAL, "http://127.0.0.1:1")
    assert await catalogue.refresh_models() == FIXED


async def test_the_key_of_another_gateway_goes_to_that_gateway_only() -> None:
    public, gateway = Anthropic(LISTED), Anthropic(LISTED)
    async with serving(public) as here, serving(gateway) as there:
        env = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": f"{there}/"}
        await Catalogue(env, USUAL, here).list_models()
    assert (len(public.asked), len(gateway.asked)) == (0, 1)


async def test_an_error_tells_the_api_s_words_and_never_the_key() -> None:
    api = Anthropic({"error": {"message": f"key {KEY} is not known"}}, 401)
    async with serving(api) as url:
        with pytest.raises(AnthropicError) as caught:
            await AnthropicApi(USUAL, {}).get(f"{url}/v1/models", {"x-api-key": KEY})
    assert caught.value.status == 401
    assert caught.value.refused
    assert not caught.value.retryable
    assert "is not known" in str(caught.value)
    assert KEY not in str(caught.value)


async def test_a_request_goes_through_the_proxy_of_the_environment() -> None:
    proxy = Anthropic(LISTED)
    async with serving(proxy) as url:
        api = AnthropicApi(USUAL, {"HTTP_PROXY": url})
        assert await api.get("http://models.example/v1/models", {}) == LISTED
    assert proxy.asked[0].host == "models.example"


USAGE = {"five_hour": {"utilization": 10, "resets_at": "2026-01-02T20:00:00Z"}}


def a_home(folder: Path, token: str) -> str:
    (folder / ".claude").mkdir()
    login = {"claudeAiOauth": {"accessToken": token, "refreshToken": "r"}}
    (folder / ".claude" / ".credentials.json").write_text(json.dumps(login), encoding="utf-8")
    return str(folder)


async def test_a_login_on_this_host_shows_its_limits(tmp_path: Path) -> None:
    api = Anthropic(USAGE)
    async with asking(api, HOME=a_home(tmp_path, "oauth-of-the-login")) as catalogue:
        shown = await catalogue.quota_windows()
    assert [window["usedPercent"] for window in shown["windows"]] == [10]
    (request,) = api.asked
    assert request.path == "/api/oauth/usage"
    assert request.headers["Authorization"] == "Bearer oauth-of-the-login"
    assert request.headers["anthropic-beta"] == "oauth-2025-04-20"


async def test_a_config_folder_of_its_own_wins_over_home(tmp_path: Path) -> None:
    api = Anthropic(USAGE)
    home = a_home(tmp_path, "oauth-elsewhere")
    async with asking(api, HOME="/nowhere", CLAUDE_CONFIG_DIR=f"{home}/.claude") as catalogue:
        assert (await catalogue.quota_windows())["ok"] is True


async def test_a_token_that_may_not_ask_gives_way_to_the_next(tmp_path: Path) -> None:
    api = Anthropic(USAGE, refused=("expired-login-token",))
    home = a_home(tmp_path, "expired-login-token")
    async with asking(api, HOME=home, CLAUDE_CODE_OAUTH_TOKEN="good-token") as catalogue:
        assert (await catalogue.quota_windows())["ok"] is True
    async with asking(api, HOME=home) as catalogue:
        refused = await catalogue.quota_windows()
    assert refused["ok"] is False
    assert "HTTP 403" in refused["error"]
    assert "expired-login-token" not in json.dumps(refused)
    assert "errorFamily" not in refused


async def test_a_usage_api_that_is_busy_is_worth_asking_again(tmp_path: Path) -> None:
    api = Anthropic({"error": {"message": "slow down"}}, 429)
    async with asking(api, HOME=a_home(tmp_path, "a"), CLAUDE_CODE_OAUTH_TOKEN="b") as catalogue:
        shown = await catalogue.quota_windows()
    assert shown["errorFamily"] == "transient_upstream"
    assert len(api.asked) == 1


async def test_without_a_login_nobody_is_asked_and_the_answer_says_what_to_do(tmp_path: Path) -> None:
    api = Anthropic(USAGE)
    for env in ({}, {"HOME": ""}, {"HOME": "relative"}, {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": KEY}):
        async with asking(api, **env) as catalogue:
            shown = await catalogue.quota_windows()
        assert (shown["ok"], shown["windows"]) == (False, [])
        assert "no Claude login" in shown["error"]
    assert api.asked == []


async def test_bedrock_has_no_windows_and_that_is_fine() -> None:
    async with asking(Anthropic(), CLAUDE_CODE_USE_BEDROCK="1") as catalogue:
        assert await catalogue.quota_windows() == {
            "provider": "anthropic",
            "ok": True,
            "windows": [],
            "source": "bedrock",
        }


async def test_folders_in_the_agents_home_are_shown_as_somebody_else_s(tmp_path: Path) -> None:
    (tmp_path / ".claude/skills/manual").mkdir(parents=True)
    (tmp_path / ".claude/skills/note.txt").write_text("no skill", encoding="utf-8")
    shown = await skill_snapshot("claude_k8s", {}, str(tmp_path))
    assert [(entry["key"], entry["state"]) for entry in shown["entries"]] == [("manual", "external")]
    assert (await skill_snapshot("claude_k8s", {}, str(tmp_path / "gone")))["entries"] == []
