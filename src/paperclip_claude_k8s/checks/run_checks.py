"""The environment test: SPEC 10, HOST.md 5."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.checks import judging
from paperclip_claude_k8s.checks.collect import look_at_place, look_at_rights, seen
from paperclip_claude_k8s.checks.dry_run import judge_clock, judge_dry_run, judge_namespace
from paperclip_claude_k8s.checks.observations import Granted, Place
from paperclip_claude_k8s.checks.probe import probe
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import Failure, RunFailure
from paperclip_claude_k8s.host.checkup import Check, Checkup, CheckupContext, overall
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.host.context import ContextInvalid
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.prepare import own_namespace


async def test_environment(given: CheckupContext | Mapping[str, Any], process: Process) -> Checkup:
    """Look at everything a run would need, and start none. Never raises; only cancellation escapes."""
    began = process.settings.now()
    try:
        checks = tuple(await _examine(given, process))
    except (ContextInvalid, ConfigInvalid) as error:
        checks = (judging.of_failure(failures.config_invalid(str(error))),)
    except RunFailure as stop:
        checks = (judging.of_failure(stop.failure),)
    except Exception as error:  # noqa: BLE001  # an operator who asks what is wrong gets an answer
        checks = (_bug(error),)
    return Checkup(adapter_type=ADAPTER_TYPE, status=overall(checks), checks=checks, tested_at=began)


test_environment.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for its own


async def _examine(given: CheckupContext | Mapping[str, Any], process: Process) -> list[Check]:
    ctx = CheckupContext.read(given)
    config = AdapterConfig.read(ctx.config)
    ports = process.ports(config.kubeconfig)
    version = await seen(ports.cluster.server_version, ports.settings.timings.check)
    checks = [*judging.judge_config(ctx.config), *judging.judge_server(version, config)]
    if isinstance(version, ClusterError):
        return checks  # nothing else would have another answer
    namespace = config.namespace or await own_namespace(ports)
    async with asyncio.TaskGroup() as group:
        rights = group.create_task(look_at_rights(namespace, ports))
        place = group.create_task(look_at_place(ctx, config, ports))
    checks += _judged(rights.result(), place.result(), namespace)
    if ctx.probe:
        checks += await _probed(checks, rights.result(), place.result(), ports)
    return checks


def _judged(granted: Granted, place: Place | Failure, namespace: str) -> Iterator[Check]:
    if isinstance(place, Failure):
        yield judging.of_failure(place)
        yield from judging.judge_rights(granted, namespace)
        return
    yield judge_namespace(place, granted)
    yield from judging.judge_rights(granted, namespace)
    yield from judging.judge_secrets(place, granted)
    yield from judging.judge_volumes(place, granted)
    yield judging.judge_credentials(place)
    yield from judging.judge_pod_security(place)
    yield from judge_clock(place.rehearsal)
    yield from judge_dry_run(place, granted)


async def _probed(checks: list[Check], granted: Granted, place: Place | Failure, ports: Ports) -> list[Check]:
    """A Job that is sure to fail is not started."""
    if granted.lacks("create", "secrets"):
        text = "The probe Job was not started: it would need a Secret"
        return [Check(code="k8s_probe_skipped", level="info", message=text)]
    if isinstance(place, Failure) or overall(tuple(checks)) == "fail":
        text = "The probe Job was not started: the errors above come first"
        return [Check(code="k8s_probe_skipped", level="info", message=text)]
    return [await probe(place.plan, ports)]


def _bug(error: Exception) -> Check:
    return Check(
        code="k8s_checks_failed",
        level="error",
        message=f"The environment test itself failed: {type(error).__name__}: {error}",
        hint="this is a bug of the adapter; please report it",
    )
