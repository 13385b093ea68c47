"""What the host's pages show outside a run: models, quota windows, skills."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.host_files import HostFileError, read_host_file
from paperclip_claude_k8s.base.settings import LIMITS, Timings
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.host import models, quota, skills
from paperclip_claude_k8s.host.anthropic import PUBLIC_API, AnthropicApi, AnthropicError
from paperclip_claude_k8s.host.context import JsonMap

_MODELS_PATH = "/v1/models?limit=1000"
_API_VERSION = "2023-06-01"
_CREDENTIALS_FILE = ".credentials.json"
_SKILLS_FOLDER = Path(".claude", "skills")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Catalogue:
    """Models and quota windows: from fixed lists, `env`, and Anthropic's API if there are credentials.

    `base_url` is the address of Anthropic's API. If ANTHROPIC_BASE_URL names a gateway, the list of models is
    requested from the gateway, because the API key then belongs to it. The usage of a subscription is always
    requested from `base_url`.
    """

    def __init__(self, env: Mapping[str, str], timings: Timings, base_url: str = PUBLIC_API) -> None:
        self._env = env
        self._timings = timings
        self._api = AnthropicApi(timings, env)
        self._base_url = base_url
        self._live_models: models.Models = ()
        self._requested_at: float | None = None

    @property
    def models(self) -> list[JsonMap]:
        """`[{id, label}]`: the fixed list for this environment, without a request."""
        return [model.to_wire() for model in models.known_models(self._env)]

    async def list_models(self) -> list[JsonMap]:
        """Return `[{id, label}]`; with an API key, the API's models come first.

        They are requested at most once in `Timings.models_cached` seconds.
        """
        now = loop_time()
        if self._requested_at is None or now - self._requested_at >= self._timings.models_cached:
            return await self.refresh_models()
        return self._all_models()

    async def refresh_models(self) -> list[JsonMap]:
        """Return what `list_models` does, after a new request to the API, if there is an API key.

        If the request fails, the models of the last successful request are used.
        """
        self._requested_at = loop_time()
        key = self._env.get("ANTHROPIC_API_KEY", "").strip()
        if key and not models.uses_bedrock(self._env):
            base_url = self._env.get("ANTHROPIC_BASE_URL", "").strip().rstrip("/") or self._base_url
            headers = {"x-api-key": key, "anthropic-version": _API_VERSION}
            with suppress(AnthropicError):
                self._live_models = models.read_live_list(
                    await self._api.get(base_url + _MODELS_PATH, headers)
                )
        return self._all_models()

    def _all_models(self) -> list[JsonMap]:
        if not self._live_models:
            return self.models
        return [model.to_wire() for model in models.with_live_models(self._env, self._live_models)]

    def detect_model(self) -> JsonMap | None:
        """Return `{model, provider, source, candidates}`, or None if the environment names no model."""
        return models.detect_model(self._env)

    async def quota_windows(self) -> JsonMap:
        """Return the host's quota reply: how much of each limit is used, or `ok: false` and an error."""
        if models.uses_bedrock(self._env):
            return quota.no_limits_reply("bedrock")
        reply = quota.no_login_reply()
        for token in await self._oauth_tokens():
            headers = {**quota.USAGE_HEADERS, "Authorization": f"Bearer {token}"}
            try:
                return quota.quota_reply(await self._api.get(self._base_url + quota.USAGE_PATH, headers))
            except AnthropicError as error:
                reply = quota.failed_request_reply(str(error), retryable=error.retryable)
                if not error.refused:
                    break
        return reply

    async def _oauth_tokens(self) -> list[str]:
        """Return the OAuth tokens to try, in order.

        The token of the CLI's login comes first, because the long-lived CLAUDE_CODE_OAUTH_TOKEN may lack the
        right to read the usage.
        """
        folder = self._env.get("CLAUDE_CONFIG_DIR", "").strip()
        home = self._env.get("HOME", "").strip()
        file = Path(folder) / _CREDENTIALS_FILE if folder else Path(home, ".claude", _CREDENTIALS_FILE)
        found: list[str | None] = []
        if file.is_absolute():
            with suppress(HostFileError):
                limit, seconds = LIMITS.credentials_bytes, self._timings.host_file
                login = await read_host_file(str(file), limit=limit, seconds=seconds)
                found.append(quota.oauth_token(login.content.decode("utf-8", "replace")))
        found.append(self._env.get("CLAUDE_CODE_OAUTH_TOKEN", "").strip())
        return list(dict.fromkeys(token for token in found if token))


async def skill_snapshot(
    adapter_type: str, config: Mapping[str, object], agents_home: str, desired: Iterable[object] | None = None
) -> JsonMap:
    """Return what the host's skills page shows. `desired` replaces the selection of the config.

    `agents_home` is the path of the agents' HOME on this machine. Skills in that folder which are not in the
    library are shown as not managed.
    """
    library = skills.read_skill_library(config)
    limit = skills.MAX_LISTED_SKILLS
    references = skills.selected_references(config) if desired is None else [*islice(desired, limit + 1)]
    excess = skills.find_excess_skills(config, references)
    warnings = [f"{why}. Only the first {limit} are shown, and runs fail." for why in excess]
    foreign = await _foreign_skills(agents_home)
    selected = skills.resolve_references(references, library)
    return skills.snapshot(adapter_type, library, selected, foreign, warnings)


async def _foreign_skills(agents_home: str) -> dict[str, str]:
    """Return name → path of each folder among the agents' own skills; {} if they cannot be read in time."""
    try:
        read = partial(_subfolders, agents_home)
        return await call_in_thread(read, Timings().host_file, place_of(agents_home))
    except (OSError, TimeoutError):
        return {}


def _subfolders(agents_home: str) -> dict[str, str]:
    """Return name → path of folders, and of links, in the agents' folder of skills. Blocks. Raises `OSError`.

    Agents write below `agents_home`, so no link there is followed, and the number of names is limited.
    """
    folder = os.open(agents_home, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
    try:
        for part in _SKILLS_FOLDER.parts:
            subfolder = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = subfolder
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, LIMITS.bundle_entries) if _may_be_folder(entry)]
    finally:
        os.close(folder)
    return {name: str(Path(agents_home, _SKILLS_FOLDER, name)) for name in names}


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    return entry.name.isprintable() and (entry.is_symlink() or entry.is_dir(follow_symlinks=False))
