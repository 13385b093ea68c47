"""Builds the command line of the Claude CLI from options."""

import re
from dataclasses import dataclass

ROOT_TOOLS = "Bash,Edit,Glob,Grep,MultiEdit,NotebookEdit,Read,Task,TodoWrite,WebFetch,WebSearch,Write"
"""Tools allowed to an agent that runs as root: the CLI refuses `--dangerously-skip-permissions` for root."""


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """The values from which `command_line` builds the argv. Without a value, an option is left out."""

    resume: str | None = None
    """The id of the session to resume."""
    skip_permissions: bool = True
    as_root: bool = False
    """The agent runs as root, so `skip_permissions` has no effect."""
    allowed_tools: tuple[str, ...] = ()
    """Used only if permissions are not skipped. Empty for root: `ROOT_TOOLS` and those of `mcp_servers`."""
    model: str | None = None
    effort: str | None = None
    max_turns: int = 0
    """0: no limit."""
    max_cost_usd: float = 0.0
    """0: no limit."""
    system_prompt_file: str | None = None
    add_dir: str | None = None
    mcp_config: str | None = None
    mcp_servers: tuple[str, ...] = ()
    """Names of the servers in `mcp_config`."""
    extra_args: tuple[str, ...] = ()


def command_line(options: CommandOptions) -> tuple[str, ...]:
    """The argv. It has no `-` for the prompt on stdin, because the CLI would send the `-` to the model."""
    argv = ["claude", "--print", "--output-format", "stream-json", "--verbose"]
    if options.resume:
        argv += ["--resume", options.resume]
    argv += _permissions(options)
    for flag, value in (("--model", options.model), ("--effort", options.effort)):
        argv += [flag, value] if value else []
    if options.max_turns > 0:
        argv += ["--max-turns", str(options.max_turns)]
    if options.max_cost_usd > 0:
        argv += ["--max-budget-usd", f"{options.max_cost_usd:.6f}".rstrip("0").rstrip(".")]
    # CLI 2.1.332 stores the system prompt in the session, and ignores this option when it resumes a session.
    if options.system_prompt_file and not options.resume:
        argv += ["--append-system-prompt-file", options.system_prompt_file]
    if options.add_dir:
        argv += ["--add-dir", options.add_dir]
    if options.mcp_config:
        argv += ["--mcp-config", options.mcp_config, "--strict-mcp-config"]
    return (*argv, *options.extra_args)  # last: later options override earlier ones


def _permissions(options: CommandOptions) -> list[str]:
    if options.skip_permissions and not options.as_root:
        return ["--dangerously-skip-permissions"]
    tools = options.allowed_tools
    if options.as_root and not tools:
        tools = (ROOT_TOOLS, *map(_server_rule, options.mcp_servers))
    return ["--allowedTools", ",".join(tools)] if tools else []


def _server_rule(server: str) -> str:
    """The rule that allows all tools of this MCP server.

    As in the CLI's tool names, `_` replaces all characters but letters, digits, `_` and `-`.
    """
    return f"mcp__{re.sub(r'[^a-zA-Z0-9_-]', '_', server)}"
