"""The settings of the workspace: how the project's files come into the Pod, and what becomes of changes."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator

from paperclip_claude_k8s.base.git_names import branch_trouble
from paperclip_claude_k8s.base.ignore_patterns import MAX_LINE_CHARS
from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.host.quantity import parse_bytes
from paperclip_claude_k8s.host.validators import Flag, Str, Whole, choice

_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
MAX_EXCLUDES = 200
BRANCH_WORDS = ("branch", "agent", "run", "task")
"""Placeholders of `gitPush`, in braces: the branch that the agent leaves, and ids of agent, run and task."""


def _read_secret_name(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not _SECRET_NAME.fullmatch(text):
        raise ValueError("the name of a Secret")
    return text


def _read_push(value: object) -> str:
    expected = f"a branch name, in which {', '.join(f'{{{word}}}' for word in BRANCH_WORDS)} may stand"
    text = value.strip() if isinstance(value, str) else ""
    known = all(word in BRANCH_WORDS for word in _PLACEHOLDER.findall(text))
    if not known or branch_trouble(_PLACEHOLDER.sub("x", text)):
        raise ValueError(expected)
    return text


def _read_upload_limit(value: object) -> str:
    most = UPLOAD_LIMITS.bytes
    try:
        size = parse_bytes(value)
    except ValueError:
        size = 0
    if not 0 < size <= most:
        raise ValueError(f"a quantity above 0 and at most {most // 1024 // 1024}Mi")
    return str(value).strip()


def _read_excludes(value: object) -> tuple[str, ...]:
    """Read patterns from a text with one a line, or from a list."""
    lines = value.splitlines() if isinstance(value, str) else value
    entries = list(lines) if isinstance(lines, (list, tuple)) else [None]  # None is refused below
    texts = [entry for entry in entries if isinstance(entry, str) and _is_line(entry)]
    if len(texts) != len(entries) or len(texts) > MAX_EXCLUDES:
        raise ValueError(f"at most {MAX_EXCLUDES} patterns as in .gitignore, one a line")
    return tuple(text for text in texts if text.strip())


def _is_line(text: str) -> bool:
    return len(text) <= MAX_LINE_CHARS and text.isprintable()


class WorkspaceSettings(BaseModel):
    """`workspace`, and settings whose names begin with `git` or `upload`. `settings.toml` documents them."""

    workspace: Annotated[
        Literal["auto", "shared", "git", "upload", "none"], choice("auto", "shared", "git", "upload", "none")
    ] = "auto"
    git_image: Str | None = None
    git_secret: Annotated[str, BeforeValidator(_read_secret_name)] | None = None
    git_push: Annotated[str, BeforeValidator(_read_push)] | None = None
    git_depth: Whole = 1
    git_submodules: Flag = False
    git_lfs: Flag = False
    upload_limit: Annotated[str, BeforeValidator(_read_upload_limit)] = "64Mi"
    upload_excludes: Annotated[tuple[str, ...], BeforeValidator(_read_excludes)] = ()
    upload_ignored: Flag = False

    @property
    def upload_limit_bytes(self) -> int:
        """`upload_limit` in bytes."""
        return parse_bytes(self.upload_limit)
