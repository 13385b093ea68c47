"""`claude-k8s run` as operators start it: one JSON object on stdout, people on stderr, a true exit code."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import claude_k8s

from paperclip_claude_k8s import __version__


async def answered(*args: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one JSON object that is all of stdout, and stderr."""
    code, out, err = await claude_k8s("run", *args)
    loaded: dict[str, Any] = json.loads(out)
    return code, loaded, err


async def test_a_run_on_the_development_cluster_ends_with_a_result() -> None:
    code, told, err = await answered("--devcluster", "--prompt", "Say {{hello}}.")
    assert code == 0
    assert told["status"] == "succeeded"
    result = told["result"]
    assert result["exitCode"] == 0
    assert result["sessionId"]
    assert result["usage"]["outputTokens"] > 0
    assert result["costUsd"] > 0
    assert "alpha and beta" in result["summary"]
    assert "→ Write" in err
    assert "\x1b[" not in err


async def test_quiet_says_nothing_on_stderr() -> None:
    code, _, err = await answered("--devcluster", "--quiet", "--prompt", "Say hello.")
    assert (code, err) == (0, "")


async def test_a_session_can_be_resumed() -> None:
    session = "3503d3d8-f6d3-48d8-8566-30c2b0b1b60b"
    _, told, _ = await answered("--devcluster", "--session", session, "--prompt", "Go on.")
    assert told["result"]["sessionId"] == session


async def test_a_real_cli_takes_the_place_of_the_stand_in(tmp_path: Path) -> None:
    cli = tmp_path / "my-claude"
    cli.write_text("#!/bin/sh\ncat\nexit 4\n", encoding="utf-8")
    cli.chmod(0o755)
    code, told, err = await answered("--devcluster", "--claude", str(cli), "--prompt", "Say {{hello}}.")
    assert code == 1
    assert told["result"]["exitCode"] == 4
    assert told["result"]["errorCode"] == "claude_no_result"
    assert "Say {{hello}}." in err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--prompt", "  "], "--prompt is empty"),
        (["--prompt", "x", "--claude", "/bin/true"], "--claude only goes with --devcluster"),
        (["--prompt", "x", "--devcluster", "--claude", "/nowhere"], "/nowhere does not exist"),
        (["--prompt", "x", "--config", "/nowhere.json"], "/nowhere.json cannot be read"),
    ],
)
async def test_options_that_make_no_sense_are_told_in_json(args: list[str], told: str) -> None:
    code, answer, _ = await answered(*args)
    assert code == 1
    assert answer["status"] == "failed"
    assert told in answer["detail"]


async def test_a_kubeconfig_that_is_not_there_is_a_failed_run() -> None:
    code, told, _ = await answered("--kubeconfig", "/nowhere/config", "--image", "x", "--prompt", "x")
    assert code == 1
    assert told["result"]["errorCode"] == "k8s_config_invalid"
    assert "/nowhere/config does not exist" in told["result"]["errorMessage"]


async def test_the_version_is_the_packages() -> None:
    assert (await claude_k8s("--version"))[1].strip() == __version__


NEWLY_IMPORTED = """
import json, sys
before = set(sys.modules)
try:
    {}
except SystemExit:
    pass
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""
OUR_HELP = """
    from paperclip_claude_k8s.__main__ import main
    sys.argv = ["claude-k8s", "--help"]
    main()
"""
ANY_HELP = """
    import typer
    app = typer.Typer()
    app.command()(lambda: None)
    app(["--help"], prog_name="any", standalone_mode=False)
"""


async def modules_of(lines: str) -> set[str]:
    """What a fresh interpreter has imported once it ran these."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        NEWLY_IMPORTED.format(lines.strip()),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    return set(json.loads(told))


async def test_help_is_as_quick_as_the_help_of_any_program_like_it() -> None:
    """It imports what `typer` needs for a help text and the modules that name our commands, nothing else.

    So a full development machine shows it in about 0.3 s; what it takes elsewhere is that machine's business.
    """
    ours = await modules_of(OUR_HELP) - await modules_of(ANY_HELP)
    cli = "paperclip_claude_k8s.cli"
    assert ours == {
        "paperclip_claude_k8s",
        "paperclip_claude_k8s.__main__",
        cli,
        *(f"{cli}.{name}" for name in ("app", "app_runs", "codes", "entry", "signals")),
        *("paperclip_claude_k8s.base", "paperclip_claude_k8s.base.strict_json"),
    }
