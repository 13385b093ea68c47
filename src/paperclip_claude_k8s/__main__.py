"""Entry point of the command line: `claude-k8s` or `python -m paperclip_claude_k8s`."""

import sys

from paperclip_claude_k8s.cli.entry import run_cli


def main() -> None:
    """Run the command line. It needs the package's extra `cli`."""
    sys.exit(run_cli(_run_command, sys.argv[1:]))


def _run_command(argv: list[str]) -> int | None:
    try:
        from paperclip_claude_k8s.cli.app import app  # noqa: PLC0415  # typer is an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"claude-k8s needs {error.name}: pip install 'paperclip-adapter-claude-k8s[cli]'")
    code: int | None = app(argv, prog_name="claude-k8s", standalone_mode=False)
    return code


if __name__ == "__main__":
    main()
