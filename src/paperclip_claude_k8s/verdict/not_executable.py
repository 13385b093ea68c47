"""Why a program could not be executed, according to shells, dynamic loaders and container runtimes.

Shells end with exit code 127 if they do not find a program, and with 126 if they cannot execute it. Only
their messages name the program, which often is not `claude` itself, but the interpreter that it needs.
"""

import re
from collections.abc import Iterable

from paperclip_claude_k8s.cluster.model import Terminated

NOT_FOUND_CODE, NOT_EXECUTABLE_CODE = 127, 126
"""Exit codes of a shell that could not execute a program."""
COMPLETE_IMAGE_STEP = (
    "use an `image` that has `claude` and all that it needs on its PATH (`check --probe` tries it), or set "
    "PATH in `env`"
)
"""The next step for whoever chose the image."""
RUNTIME_ERRORS = ("exec ", "standard_init_linux.go")
"""Starts of the lines that a runtime writes into a container's log if its command cannot be executed."""
_LINE_CHARS = 2000
"""Maximum characters of a line that are searched."""
_QUOTES = r"'\"`\u2018\u2019"
_NAME = rf"(?<![^\s:{_QUOTES}\[\]])([^\s:{_QUOTES}\[\]]+)"
"""A whole word. Matches only at the start of a word, because trying each position of a long word is slow."""

# Pattern of a message → what it means. Patterns of special cases come before general ones.
_MEANINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (rf"error while loading shared libraries: {_NAME}", 'the shared library "{}" is missing'),  # glibc
        (rf"error loading shared library {_NAME}", 'the shared library "{}" is missing'),  # musl
        (rf"{_NAME}: bad interpreter", 'the interpreter "{}" was not found'),  # bash before 5.2
        (rf"{_NAME}: cannot execute: required file not found", 'the interpreter of "{}" was not found'),
        (r'exec: \\?"([^"\\]+)\\?": executable file not found', '"{}" was not found'),  # runc
        (r"executable file `([^`]+)` not found", '"{}" was not found'),  # crun
        (r'exec: "([^"]+)": (?:stat \S+: )?no such file or directory', '"{}" was not found'),
        (r'exec: "([^"]+)": (?:stat \S+: )?permission denied', '"{}" may not be executed'),
        (r'exec: "([^"]+)": is a directory', '"{}" is a folder'),
        (r"open executable: permission denied", "the program may not be executed"),  # crun
        (r"exec user process caused: exec format error", "the image is for another processor"),
        (r"exec user process caused: no such file or directory", "the interpreter was not found"),
        (
            rf"exec {_NAME}: exec format error",
            'the image is for another processor ("{}")',
        ),
        (rf"{_NAME}: (?:cannot execute binary file: )?exec format error", '"{}" is for another processor'),
        (rf"{_NAME}: cannot execute binary file", '"{}" is for another processor'),
        (rf"env: [{_QUOTES}]?{_NAME}[{_QUOTES}]?: no such file or directory", '"{}" was not found'),
        (rf"env: can't execute [{_QUOTES}]?{_NAME}", '"{}" was not found'),  # busybox
        (rf"command not found: {_NAME}", '"{}" was not found'),  # zsh
        (rf"no such command [{_QUOTES}]{_NAME}", '"{}" was not found'),  # yash
        (rf"{_NAME}: (?:command |inaccessible or )?not found", '"{}" was not found'),
        (rf"{_NAME}: (?:cannot execute |can't execute:? )?\[?permission denied", '"{}" may not be executed'),
        (rf"{_NAME}: is a directory", '"{}" is a folder'),
        (rf"{_NAME}: text file busy", '"{}" is being written'),
        (rf"{_NAME}: no such file or directory", '"{}" was not found'),
    )
)


def why_not_executable(lines: Iterable[str]) -> tuple[str, str] | None:
    """The first of these lines that reports a program that cannot be executed, and what that line means."""
    for line in lines:
        meaning = _meaning_of(line[:_LINE_CHARS])
        if meaning:
            return line[:_LINE_CHARS].strip(), meaning
    return None


def missing_command(message: str) -> str:
    """Why a container's command cannot be executed, from the runtime's message; "" for any other message."""
    is_about_command = re.search(r'exec:? "|executable|exec user process|exec format error', message)
    return _meaning_of(message[:_LINE_CHARS]) if is_about_command else ""


def missing_program(end: Terminated) -> str:
    """What a container's image lacks, according to how the container ended; "" if nothing is known."""
    if end.never_ran:
        return missing_command(end.message)
    by_shell = end.exit_code in {NOT_FOUND_CODE, NOT_EXECUTABLE_CODE}
    found = why_not_executable(end.message.split("\n")) if by_shell else None
    return found[1] if found is not None else ""


def start_error(end: Terminated) -> tuple[str, bool]:
    """Why the runtime could not start a container, and whether another node might be able to."""
    why = missing_command(end.message)
    message = " ".join(end.message.split()) or f"exit code {end.exit_code}"
    text = f"the agent's container could not be started ({end.reason}): {message}"
    step = f"{why}; the image needs sh, the usual small tools (busybox is enough) and claude" if why else ""
    return (f"{text}; {step}" if step else text), not why


def _meaning_of(text: str) -> str:
    for pattern, meaning in _MEANINGS:
        found = pattern.search(text)
        if found is not None:
            return meaning.format(*(name[:200] for name in found.groups()))
    return ""
