"""The prompt of a new run: `--prompt`, a file, or stdin."""

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.options import OptionsInvalid

MAX_PROMPT_BYTES = 16 * 1024 * 1024
"""Largest prompt that is read. No model reads more, and stdin may be endless."""


def with_prompt(options: RunOptions) -> RunOptions:
    """The options with the prompt's text as `prompt`. Raises `OptionsInvalid` if it cannot be read.

    Without `--prompt` and `--prompt-file`, a new run takes its prompt from a pipe or file on stdin.
    """
    if options.prompt is not None and options.prompt_file is not None:
        raise OptionsInvalid("--prompt and --prompt-file are both given: leave one of them out")
    if options.prompt == "-":
        return replace(options, prompt=_stdin_text("--prompt -"))
    if options.prompt_file is not None:
        return replace(options, prompt=_file_text(options.prompt_file), prompt_file=None)
    if options.prompt is not None:
        _check_not_a_file_name(options.prompt)
        return options
    if options.run_id is None and _stdin_is_pipe_or_file():
        return replace(options, prompt=_stdin_text("stdin"))
    return options


def _check_not_a_file_name(prompt: str) -> None:
    """Raises `OptionsInvalid` for `@FILE`, which curl would read and which has no meaning as a prompt."""
    if prompt.startswith("@") and not any(map(str.isspace, prompt)) and Path(prompt[1:]).is_file():
        raise OptionsInvalid(f"--prompt {prompt}: --prompt-file {prompt[1:]} reads the prompt from that file")


def _file_text(file: Path) -> str:
    if str(file) == "-":
        return _stdin_text("--prompt-file -")
    try:
        with file.open("rb") as source:
            return _text(source, f"--prompt-file {file}")
    except OSError as error:
        raise OptionsInvalid(f"--prompt-file {file} cannot be read: {error.strerror or error}") from None


def _stdin_text(name: str) -> str:
    if sys.stdin is None:
        raise OptionsInvalid(f"{name}: stdin is closed")
    try:
        return _text(sys.stdin.buffer, name)
    except OSError as error:
        raise OptionsInvalid(f"{name}: stdin cannot be read: {error.strerror or error}") from None


def _text(source: BinaryIO, name: str) -> str:
    content = source.read(MAX_PROMPT_BYTES + 1)
    if len(content) > MAX_PROMPT_BYTES:
        raise OptionsInvalid(f"{name} is longer than {MAX_PROMPT_BYTES >> 20} MiB, which no model reads")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        raise OptionsInvalid(f"{name} is no text: {found} is not UTF-8; is it a binary file?") from None
    if (offset := text.find("\0")) >= 0:
        raise OptionsInvalid(f"{name} is no text: it has a NUL character at offset {offset}")
    return text


def _stdin_is_pipe_or_file() -> bool:
    """Whether stdin is a pipe or a file. Anything else, such as a terminal, is not read as a prompt."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode if sys.stdin is not None else 0
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
