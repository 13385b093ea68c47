"""Rules for every test: it leaves no task behind and does not exceed its time limit."""

import asyncio
import faulthandler
import inspect
import logging
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings

TEST_TIMEOUT = 300.0
"""Seconds after which the traceback of a hanging test is printed and pytest exits."""
REAL_CLUSTER_TEST_TIMEOUT = 420.0
"""The same for tests on a real cluster, whose kubelet is slow."""
FUZZ_TEST_TIMEOUT = 3600.0
"""The same for a fuzz test that `tests/security/fuzz.py` runs with more inputs."""
LONGEST_PARAMETER_ID = 200
"""Characters of a parameter in a test's name."""
IDLE_STEP = 0.01
"""Seconds by which virtual time advances while a thread runs, as in tests that use `fake_cluster`."""
NO_OP_CYCLES = 3
"""Cycles of an idle event loop before virtual time advances. looptime's default of 42 costs much CPU."""
pytest_plugins = ["paperclip_claude_k8s.pytest_plugin"]  # needed by installations without its entry point

pytest.register_assert_rewrite("tests.support")  # failed assertions of helpers show their values
from tests.support.real_namespace import use_own_namespace  # noqa: E402  # after the line above

use_own_namespace()  # before other modules are imported, because they read the variables that it sets
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


def pytest_configure() -> None:
    """Set the event loop to None.

    Otherwise looptime asks for the event loop, and Python creates one that is never closed.
    """
    asyncio.set_event_loop(None)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shorten long values: a test's name becomes an environment variable, whose limit is 128 KiB."""
    if isinstance(val, str | bytes) and len(text := repr(val)) > LONGEST_PARAMETER_ID:
        return f"{text[:LONGEST_PARAMETER_ID]}-{len(text)}-characters"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that need a real cluster if there is none; mark the others with the rules for all.

    With a real cluster, slow tests come first, so that no worker begins a slow test when the others are done.
    """
    if "KUBECONFIG_FOR_TESTS" not in os.environ:
        real = [item for item in items if item.get_closest_marker("real")]
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if not item.get_closest_marker("real")]
    else:
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.usefixtures("no_task_is_left"))
        if item.get_closest_marker("looptime"):
            item.add_marker(pytest.mark.looptime(idle_step=IDLE_STEP, noop_cycles=NO_OP_CYCLES))


@pytest.fixture(autouse=True)
def _log_levels_are_restored() -> Iterator[None]:
    """Commands that run in the test's process set the levels of loggers."""
    loggers = (logging.getLogger(), logging.getLogger("paperclip_claude_k8s"))
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(autouse=True)
def _no_test_hangs(request: pytest.FixtureRequest) -> Iterator[None]:
    limit = REAL_CLUSTER_TEST_TIMEOUT if request.node.get_closest_marker("real") else TEST_TIMEOUT
    if "FUZZ_EXAMPLES" in os.environ:
        limit = FUZZ_TEST_TIMEOUT
    faulthandler.dump_traceback_later(limit, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
