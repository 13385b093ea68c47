"""The methods that a host may call through the bridge: the adapter's members, with JSON in and out."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.bridge.callbacks import Callbacks, HostRefused
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.verdict.result_builder import HostFailures, with_host_failures
from paperclip_claude_k8s.verdict.wording import error_text

SHOWN_STDERR_CHARS = 1000
"""Characters at the end of the agent's stderr that a failed run's result keeps."""


class ParamsInvalid(ValueError):
    """The params of a call are wrong; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call; `stop` is set when the host sends `cancel`."""

    params: dict[str, Any] = field(repr=False)
    callbacks: Callbacks
    stop: asyncio.Event


Method: TypeAlias = Callable[[Adapter, Request], Awaitable[Any]]


async def _execute(adapter: Adapter, request: Request) -> Any:  # noqa: ANN401  # any JSON
    """Run an agent.

    `onResult` passes the result to the host before the Job is deleted. A host without that callback takes the
    result from the response. `onSpawn` is not passed on, since the host would look for its pid on its own
    machine; `onRuntimeProgress` reports instead that the agent works.
    """
    send, wait = request.callbacks.send, request.callbacks.send_and_wait
    sent = {name: partial(send, name) for name in ("onLog", "onMeta", "onRuntimeProgress")}
    awaited = {name: partial(wait, name) for name in ("onDispatch", "onCancellationReady")}
    delivered: list[dict[str, Any]] = []

    async def deliver(result: ExecutionResult) -> None:
        delivered.append(await _final(result, request.callbacks))
        await wait("onResult", delivered[0])

    ctx = {**_object_param(request, "ctx"), **sent, **awaited, "onResult": deliver, "signal": request.stop}
    result = await adapter.execute(ctx)
    return delivered[0] if delivered else await _final(result, request.callbacks)


async def _final(result: ExecutionResult, callbacks: Callbacks) -> dict[str, Any]:
    """Wait until all callbacks are acknowledged. The result for the host then counts the refused ones."""
    await callbacks.all_acknowledged()
    return _for_page(_with_refusals(result.to_wire(), callbacks.take_refusals()))


def _for_page(result: dict[str, Any]) -> dict[str, Any]:
    """The result without the agent's stdout, and with the end of its stderr only.

    For a failed run, the web page of the Paperclip server shows the transcript, and below it all of
    `resultJson`.
    """
    result_json = {key: value for key, value in (result.get("resultJson") or {}).items() if key != "stdout"}
    if isinstance(stderr := result_json.get("stderr"), str):
        result_json["stderr"] = stderr[-SHOWN_STDERR_CHARS:]
    return {**result, "resultJson": result_json} if "resultJson" in result else result


def _with_refusals(result: dict[str, Any], late: list[HostRefused]) -> dict[str, Any]:
    """The result, whose `resultJson.log` also counts the refusals that came too late to be raised."""
    result_json = result.get("resultJson") or {}
    log = result_json.get("log")
    if not late or log is None:
        return result
    first = str(log.get("firstHostError") or error_text(late[0]))
    failures = HostFailures(log["hostFailures"] + len(late), first)
    return {**result, "resultJson": {**result_json, "log": with_host_failures(log, failures)}}


async def _test_environment(adapter: Adapter, request: Request) -> Any:  # noqa: ANN401  # any JSON
    return (await adapter.test_environment(_object_param(request, "ctx"))).to_wire()


async def _list_skills(adapter: Adapter, request: Request) -> Any:  # noqa: ANN401  # any JSON
    return await adapter.list_skills(_object_param(request, "ctx"))


async def _sync_skills(adapter: Adapter, request: Request) -> Any:  # noqa: ANN401  # any JSON
    desired = request.params.get("desired")
    if not isinstance(desired, list):
        raise ParamsInvalid("syncSkills needs a list as params.desired")
    return await adapter.sync_skills(_object_param(request, "ctx"), desired)


def _member(name: str) -> Method:
    """The bridge method that returns an attribute of the adapter, or calls its method without parameters."""

    async def call(adapter: Adapter, _: Request) -> Any:  # noqa: ANN401  # any JSON
        member = getattr(adapter, name)
        result = member() if callable(member) else member
        return await result if inspect.isawaitable(result) else result

    return call


def _codec_method(name: str) -> Method:
    async def call(adapter: Adapter, request: Request) -> Any:  # noqa: ANN401  # any JSON
        return getattr(adapter.session_codec, name)(request.params.get("value"))

    return call


METHODS: Mapping[str, Method] = {
    "execute": _execute,
    "testEnvironment": _test_environment,
    "models": _member("models"),
    "listModels": _member("list_models"),
    "refreshModels": _member("refresh_models"),
    "detectModel": _member("detect_model"),
    "getConfigSchema": _member("get_config_schema"),
    "getQuotaWindows": _member("get_quota_windows"),
    "listSkills": _list_skills,
    "syncSkills": _sync_skills,
    "sessionCodec.deserialize": _codec_method("deserialize"),
    "sessionCodec.serialize": _codec_method("serialize"),
    "sessionCodec.getDisplayId": _codec_method("getDisplayId"),
}


def _object_param(request: Request, key: str) -> dict[str, Any]:
    value = request.params.get(key)
    if not isinstance(value, dict):
        raise ParamsInvalid(f"params.{key} must be an object")
    return value
