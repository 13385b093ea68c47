"""`claude-k8s` and `python -m paperclip_claude_k8s`."""

import sys


def main() -> None:
    """Start the operator's command line; it needs the extra `cli`."""
    try:
        from paperclip_claude_k8s.cli.app import app  # noqa: PLC0415  # typer is an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"claude-k8s needs {error.name}: pip install 'paperclip-adapter-claude-k8s[cli]'")
    app()


if __name__ == "__main__":
    main()
