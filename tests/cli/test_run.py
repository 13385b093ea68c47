"""`claude-k8s run` on an embedded development cluster: JSON on stdout, transcript on stderr, exit code."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import claude_k8s

from paperclip_claude_k8s import __version__


async def run(*args: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON object that is the whole of stdout, and stderr."""
    code, out, err = await claude_k8s("run", *args)
    loaded: dict[str, Any] = json.loads(out)
    return code, loaded, err


async def test_run_on_the_development_cluster_succeeds() -> None:
    code, reply, err = await run("--devcluster", "--prompt", "Say {{hello}}.")
    assert err.count("Agent: a stand-in, which replays a recorded session whatever the prompt is\n") == 1
    assert code == 0
    assert reply["status"] == "succeeded"
    result = reply["result"]
    assert result["exitCode"] == 0
    assert result["sessionId"]
    assert result["usage"]["outputTokens"] > 0
    assert result["costUsd"] > 0
    assert "alpha and beta" in result["summary"]
    assert "→ Write" in err
    assert "\x1b[" not in err


async def test_quiet_option_silences_stderr() -> None:
    code, _, err = await run("--devcluster", "--quiet", "--prompt", "Say hello.")
    assert (code, err) == (0, "")


async def test_session_option_resumes_the_session() -> None:
    session = "3503d3d8-f6d3-48d8-8566-30c2b0b1b60b"
    _, reply, _ = await run("--devcluster", "--session", session, "--prompt", "Go on.")
    assert reply["result"]["sessionId"] == session


async def test_claude_option_replaces_the_stand_in(tmp_path: Path) -> None:
    cli = tmp_path / "my-claude"
    cli.write_text("#!/bin/sh\ncat\nexit 4\n", encoding="utf-8")
    cli.chmod(0o755)
    code, reply, err = await run("--devcluster", "--claude", str(cli), "--prompt", "Say {{hello}}.")
    assert "stand-in" not in err
    assert code == 1
    assert reply["result"]["exitCode"] == 4
    assert reply["result"]["errorCode"] == "claude_no_result"
    assert "Say {{hello}}." in err


@pytest.mark.parametrize(
    ("args", "detail"),
    [
        (["--prompt", "  "], "the prompt is empty"),
        (["--prompt", "x", "--claude", "/bin/true"], "--claude only works with --devcluster"),
        (["--prompt", "x", "--devcluster", "--claude", "/nowhere"], "/nowhere does not exist"),
        (["--prompt", "x", "--config", "/nowhere.json"], "/nowhere.json cannot be read"),
    ],
)
async def test_invalid_options_are_reported_in_json(args: list[str], detail: str) -> None:
    code, reply, _ = await run(*args)
    assert code == 1
    assert reply["status"] == "failed"
    assert detail in reply["detail"]


async def test_missing_kubeconfig_fails_the_run() -> None:
    code, reply, _ = await run("--kubeconfig", "/nowhere/config", "--image", "x", "--prompt", "x")
    assert code == 1
    assert reply["result"]["errorCode"] == "k8s_config_invalid"
    assert "/nowhere/config does not exist" in reply["result"]["errorMessage"]


async def test_version_is_that_of_the_package() -> None:
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
    """Names of the modules that a fresh interpreter imports when it runs these lines."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        NEWLY_IMPORTED.format(lines.strip()),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, names = await process.communicate()
    return set(json.loads(names))


async def test_help_imports_no_more_than_it_needs() -> None:
    """Help imports only what `typer` needs for any help text, and the modules that define our commands.

    Then help takes about 0.3 s on a development machine. The test does not measure time, because that
    depends on the machine.
    """
    ours = await modules_of(OUR_HELP) - await modules_of(ANY_HELP)
    cli = "paperclip_claude_k8s.cli"
    assert ours == {
        "paperclip_claude_k8s",
        "paperclip_claude_k8s.__main__",
        cli,
        *(f"{cli}.{name}" for name in ("app", "setup_commands", "command_options", "entry", "formats")),
        f"{cli}.command_parameters",
        *(f"{cli}.{name}" for name in ("log_setup", "run_lookup_options", "setup_options")),
        *(f"{cli}.{name}" for name in ("shell_completion", "signals")),
        *(f"paperclip_claude_k8s.base{name}" for name in ("", ".strict_json", ".text")),
    }
