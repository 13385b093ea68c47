"""Models, quota windows and skills, from an Anthropic API that responds correctly, wrongly or never."""

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

from paperclip_claude_k8s.base.settings import LIMITS, Timings
from paperclip_claude_k8s.host.anthropic import AnthropicApi, AnthropicError
from paperclip_claude_k8s.host.catalogue import Catalogue, skill_snapshot
from paperclip_claude_k8s.host.models import ANTHROPIC_MODELS, BEDROCK_MODELS

KEY = "sk-ant-canary-0123456789"
LONG_TIMEOUTS = Timings(model_api=60.0, models_cached=60.0)
"""Timeouts in seconds for a server that responds, perhaps slowly on a busy machine."""
SHORT_TIMEOUTS = Timings(model_api=0.3)
"""A timeout in seconds for a server that never responds."""
FIXED_MODELS = [model.to_wire() for model in ANTHROPIC_MODELS]
MODELS_RESPONSE = {"data": [{"id": "claude-next", "display_name": "Claude Next"}]}


@dataclass
class FakeAnthropic:
    """Records the requests. Responds with `status` and `body`, or with status 403 to a refused token."""

    body: object = field(default_factory=dict)
    status: int = 200
    refused_tokens: tuple[str, ...] = ()
    requests: list[web.Request] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") in self.refused_tokens:
            return web.json_response({"error": {"message": "no"}}, status=403)
        return web.json_response(self.body, status=self.status)


@asynccontextmanager
async def catalogue_for(handler: Handler, **env: str) -> AsyncIterator[Catalogue]:
    async with serving(handler) as url:
        yield Catalogue(env, SHORT_TIMEOUTS if handler is silent else LONG_TIMEOUTS, url)


def ids(models: list[dict[str, Any]]) -> list[str]:
    return [model["id"] for model in models]


async def test_list_models_with_api_key_starts_with_the_api_list() -> None:
    api = FakeAnthropic(MODELS_RESPONSE)
    async with catalogue_for(api, ANTHROPIC_API_KEY=KEY) as catalogue:
        assert catalogue.models == FIXED_MODELS
        assert await catalogue.list_models() == [{"id": "claude-next", "label": "Claude Next"}, *FIXED_MODELS]
    (request,) = api.requests
    assert request.path_qs == "/v1/models?limit=1000"
    assert request.headers["x-api-key"] == KEY
    assert request.headers["anthropic-version"] == "2023-06-01"


async def test_list_models_requests_once_and_refresh_models_requests_again() -> None:
    api = FakeAnthropic(MODELS_RESPONSE)
    async with catalogue_for(api, ANTHROPIC_API_KEY=KEY) as catalogue:
        for _ in range(3):
            await catalogue.list_models()
        assert len(api.requests) == 1
        api.body = {"data": [{"id": "claude-newer"}]}
        assert ids(await catalogue.refresh_models())[0] == "claude-newer"
        assert ids(await catalogue.list_models())[0] == "claude-newer"
        assert len(api.requests) == 2


async def test_refresh_models_after_a_failure_keeps_the_last_list() -> None:
    api = FakeAnthropic(MODELS_RESPONSE)
    async with catalogue_for(api, ANTHROPIC_API_KEY=KEY) as catalogue:
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
async def test_list_models_without_key_or_on_bedrock_sends_no_request(env: dict[str, str]) -> None:
    api = FakeAnthropic(MODELS_RESPONSE)
    async with catalogue_for(api, **env) as catalogue:
        fixed = [
            model.to_wire()
            for model in (BEDROCK_MODELS if "CLAUDE_CODE_USE_BEDROCK" in env else ANTHROPIC_MODELS)
        ]
        assert await catalogue.list_models() == fixed
        assert await catalogue.refresh_models() == fixed
    assert api.requests == []


async def html_page(_: web.Request) -> web.Response:
    return web.Response(text="<html>", content_type="text/html")


async def too_long(request: web.Request) -> web.StreamResponse:
    """Respond with 2.5 MiB; at most 1 MiB is read."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(40):
        await response.write(b" " * 64 * 1024)
    return response


async def redirecting(_: web.Request) -> web.Response:
    raise web.HTTPFound("http://169.254.169.254/")


@pytest.mark.parametrize(
    "handler",
    [silent, html_page, too_long, redirecting, FakeAnthropic(MODELS_RESPONSE, status=401), FakeAnthropic([])],
)
async def test_list_models_falls_back_to_the_fixed_list(handler: Handler) -> None:
    async with catalogue_for(handler, ANTHROPIC_API_KEY=KEY) as catalogue, asyncio.timeout(50):
        assert await catalogue.list_models() == FIXED_MODELS


async def test_refresh_models_without_a_server_returns_the_fixed_list() -> None:
    catalogue = Catalogue({"ANTHROPIC_API_KEY": KEY}, LONG_TIMEOUTS, "http://127.0.0.1:1")
    assert await catalogue.refresh_models() == FIXED_MODELS


async def test_list_models_sends_the_key_only_to_the_configured_gateway() -> None:
    public, gateway = FakeAnthropic(MODELS_RESPONSE), FakeAnthropic(MODELS_RESPONSE)
    async with serving(public) as public_url, serving(gateway) as gateway_url:
        env = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": f"{gateway_url}/"}
        await Catalogue(env, LONG_TIMEOUTS, public_url).list_models()
    assert (len(public.requests), len(gateway.requests)) == (0, 1)


async def test_anthropic_error_quotes_the_api_but_not_the_key() -> None:
    api = FakeAnthropic({"error": {"message": f"key {KEY} is not known"}}, status=401)
    async with serving(api) as url:
        with pytest.raises(AnthropicError) as caught:
            await AnthropicApi(LONG_TIMEOUTS, {}).get(f"{url}/v1/models", {"x-api-key": KEY})
    assert caught.value.status == 401
    assert caught.value.refused
    assert not caught.value.retryable
    assert "is not known" in str(caught.value)
    assert KEY not in str(caught.value)


async def test_anthropic_request_uses_the_proxy_of_the_environment() -> None:
    proxy = FakeAnthropic(MODELS_RESPONSE)
    async with serving(proxy) as url:
        api = AnthropicApi(LONG_TIMEOUTS, {"HTTP_PROXY": url})
        assert await api.get("http://models.example/v1/models", {}) == MODELS_RESPONSE
    assert proxy.requests[0].host == "models.example"


USAGE_RESPONSE = {"five_hour": {"utilization": 10, "resets_at": "2026-01-02T20:00:00Z"}}


def home_with_login(folder: Path, token: str) -> str:
    (folder / ".claude").mkdir()
    login = {"claudeAiOauth": {"accessToken": token, "refreshToken": "r"}}
    (folder / ".claude" / ".credentials.json").write_text(json.dumps(login), encoding="utf-8")
    return str(folder)


async def test_quota_windows_use_the_login_of_this_machine(tmp_path: Path) -> None:
    api = FakeAnthropic(USAGE_RESPONSE)
    async with catalogue_for(api, HOME=home_with_login(tmp_path, "oauth-of-the-login")) as catalogue:
        shown = await catalogue.quota_windows()
    assert [window["usedPercent"] for window in shown["windows"]] == [10]
    (request,) = api.requests
    assert request.path == "/api/oauth/usage"
    assert request.headers["Authorization"] == "Bearer oauth-of-the-login"
    assert request.headers["anthropic-beta"] == "oauth-2025-04-20"


async def test_quota_windows_prefer_claude_config_dir_over_home(tmp_path: Path) -> None:
    api = FakeAnthropic(USAGE_RESPONSE)
    home = home_with_login(tmp_path, "oauth-elsewhere")
    async with catalogue_for(api, HOME="/nowhere", CLAUDE_CONFIG_DIR=f"{home}/.claude") as catalogue:
        assert (await catalogue.quota_windows())["ok"] is True


async def test_quota_windows_try_the_next_token_after_a_refusal(tmp_path: Path) -> None:
    api = FakeAnthropic(USAGE_RESPONSE, refused_tokens=("expired-login-token",))
    home = home_with_login(tmp_path, "expired-login-token")
    async with catalogue_for(api, HOME=home, CLAUDE_CODE_OAUTH_TOKEN="good-token") as catalogue:
        assert (await catalogue.quota_windows())["ok"] is True
    async with catalogue_for(api, HOME=home) as catalogue:
        refused = await catalogue.quota_windows()
    assert refused["ok"] is False
    assert "HTTP 403" in refused["error"]
    assert "expired-login-token" not in json.dumps(refused)
    assert "errorFamily" not in refused


async def test_quota_windows_after_status_429_are_retryable_and_no_other_token_is_tried(
    tmp_path: Path,
) -> None:
    api = FakeAnthropic({"error": {"message": "slow down"}}, status=429)
    async with catalogue_for(
        api, HOME=home_with_login(tmp_path, "a"), CLAUDE_CODE_OAUTH_TOKEN="b"
    ) as catalogue:
        shown = await catalogue.quota_windows()
    assert shown["errorFamily"] == "transient_upstream"
    assert len(api.requests) == 1


async def test_quota_windows_without_a_login_say_what_to_do(tmp_path: Path) -> None:
    api = FakeAnthropic(USAGE_RESPONSE)
    for env in ({}, {"HOME": ""}, {"HOME": "relative"}, {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": KEY}):
        async with catalogue_for(api, **env) as catalogue:
            shown = await catalogue.quota_windows()
        assert (shown["ok"], shown["windows"]) == (False, [])
        assert "no Claude login" in shown["error"]
    assert api.requests == []


async def test_quota_windows_on_bedrock_are_empty_and_ok() -> None:
    async with catalogue_for(FakeAnthropic(), CLAUDE_CODE_USE_BEDROCK="1") as catalogue:
        assert await catalogue.quota_windows() == {
            "provider": "anthropic",
            "ok": True,
            "windows": [],
            "source": "bedrock",
        }


async def test_skill_snapshot_shows_folders_of_the_home_as_external(tmp_path: Path) -> None:
    (tmp_path / ".claude/skills/manual").mkdir(parents=True)
    (tmp_path / ".claude/skills/note.txt").write_text("no skill", encoding="utf-8")
    shown = await skill_snapshot("claude_k8s", {}, str(tmp_path))
    assert [(entry["key"], entry["state"]) for entry in shown["entries"]] == [("manual", "external")]
    assert (await skill_snapshot("claude_k8s", {}, str(tmp_path / "gone")))["entries"] == []


@pytest.mark.parametrize("link", [".claude", ".claude/skills"])
async def test_folder_of_skills_that_is_a_link_is_not_listed(link: str, tmp_path: Path) -> None:
    elsewhere, home = tmp_path / "host", tmp_path / "home"
    (elsewhere / "skills" / "private").mkdir(parents=True)
    (elsewhere / "private").mkdir()
    (home / link).parent.mkdir(parents=True, exist_ok=True)
    (home / link).symlink_to(elsewhere)
    shown = await skill_snapshot("claude_k8s", {}, str(home))
    assert shown["entries"] == []


async def test_number_of_foreign_skills_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path / ".claude" / "skills"
    folder.mkdir(parents=True)
    for number in range(LIMITS.bundle_entries + 10):
        (folder / f"skill-{number}").mkdir()
    (folder / "odd\x1b").mkdir()
    shown = await skill_snapshot("claude_k8s", {}, str(tmp_path))
    # one less if the folder with a control character is among the first ones that are read
    assert LIMITS.bundle_entries - 1 <= len(shown["entries"]) <= LIMITS.bundle_entries
    assert "\x1b" not in str(shown)
