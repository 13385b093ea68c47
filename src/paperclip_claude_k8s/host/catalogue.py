"""What the host may ask when no run is under way: models, quota, skills (HOST.md 2)."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.host import models, quota, skills
from paperclip_claude_k8s.host.anthropic import PUBLIC_API, AnthropicApi, AnthropicError
from paperclip_claude_k8s.host.context import JsonMap

_MODELS_PATH = "/v1/models?limit=1000"
_API_VERSION = "2023-06-01"
_CREDENTIALS = ".credentials.json"
_SKILLS = Path(".claude", "skills")


class Catalogue:
    """Answers from this process's environment, and from Anthropic where that holds credentials.

    `address` is where the subscription's usage is asked for, and the models unless ANTHROPIC_BASE_URL names
    another gateway, whose key is none of Anthropic's business.
    """

    def __init__(self, env: Mapping[str, str], timings: Timings, address: str = PUBLIC_API) -> None:
        self._env = env
        self._timings = timings
        self._api = AnthropicApi(timings, env)
        self._address = address
        self._live: models.Models = ()
        self._asked_at: float | None = None

    @property
    def models(self) -> list[JsonMap]:
        """The fixed list for this environment, without asking anybody."""
        return [model.to_wire() for model in models.known_models(self._env)]

    async def list_models(self) -> list[JsonMap]:
        """`[{id, label}]`, the live list in front where there is an API key; asked for once a minute."""
        now = asyncio.get_running_loop().time()
        if self._asked_at is None or now - self._asked_at >= self._timings.models_known:
            return await self.refresh_models()
        return self._all_models()

    async def refresh_models(self) -> list[JsonMap]:
        """The same, asked for now; without an answer, what was known before."""
        self._asked_at = asyncio.get_running_loop().time()
        key = self._env.get("ANTHROPIC_API_KEY", "").strip()
        if key and not models.uses_bedrock(self._env):
            address = self._env.get("ANTHROPIC_BASE_URL", "").strip().rstrip("/") or self._address
            headers = {"x-api-key": key, "anthropic-version": _API_VERSION}
            with suppress(AnthropicError):
                self._live = models.read_live_list(await self._api.get(address + _MODELS_PATH, headers))
        return self._all_models()

    def _all_models(self) -> list[JsonMap]:
        if not self._live:
            return self.models
        return [model.to_wire() for model in models.with_live(self._env, self._live)]

    def detect_model(self) -> JsonMap | None:
        return models.detect(self._env)

    async def quota_windows(self) -> JsonMap:
        """How far the limits of the subscription are used up; every failure is an answer with `ok: false`."""
        if models.uses_bedrock(self._env):
            return quota.no_limits("bedrock")
        answer = quota.no_login()
        for token in await asyncio.to_thread(self._oauth_tokens):
            headers = {**quota.USAGE_HEADERS, "Authorization": f"Bearer {token}"}
            try:
                return quota.answered(await self._api.get(self._address + quota.USAGE_PATH, headers))
            except AnthropicError as error:
                answer = quota.unanswered(str(error), retryable=error.retryable)
                if not error.refused:
                    break
        return answer

    def _oauth_tokens(self) -> list[str]:
        """The login's own token first: one made for unattended use may not be allowed to ask."""
        folder = self._env.get("CLAUDE_CONFIG_DIR", "").strip()
        home = self._env.get("HOME", "").strip()
        file = Path(folder) / _CREDENTIALS if folder else Path(home, ".claude", _CREDENTIALS)
        found: list[str | None] = []
        if file.is_absolute():
            with suppress(OSError, UnicodeDecodeError):
                found.append(quota.oauth_token(file.read_text(encoding="utf-8")))
        found.append(self._env.get("CLAUDE_CODE_OAUTH_TOKEN", "").strip())
        return list(dict.fromkeys(token for token in found if token))


async def skill_snapshot(
    adapter_type: str, config: Mapping[str, object], agents_home: str, desired: Iterable[object] | None = None
) -> JsonMap:
    """What the host's skills page shows. `desired` stands in for what the config asks for.

    `agents_home` is the agents' HOME as this process sees it: what lies there is not ours and is named.
    """
    library = skills.read_library(config)
    wishes = skills.read_wishes(config, library) if desired is None else skills.resolve(desired, library)
    foreign = await asyncio.to_thread(_folders_in, Path(agents_home) / _SKILLS)
    return skills.snapshot(adapter_type, library, wishes, foreign)


def _folders_in(folder: Path) -> dict[str, str]:
    """Name → path of the folders, and links to such, in there; none where it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        return {entry.name: entry.path for entry in entries if entry.is_dir()}
    return {}
