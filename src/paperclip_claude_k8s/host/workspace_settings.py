"""The settings of the workspace: how the project's files come into the Pod, and what becomes of changes."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator

from paperclip_claude_k8s.base.git_names import branch_trouble
from paperclip_claude_k8s.host.validators import Flag, Str, Whole, choice

_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
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


class WorkspaceSettings(BaseModel):
    """`workspace`, and the settings whose names begin with `git`. `settings.toml` documents them."""

    workspace: Annotated[
        Literal["auto", "shared", "git", "none"], choice("auto", "shared", "git", "none")
    ] = "auto"
    git_image: Str | None = None
    git_secret: Annotated[str, BeforeValidator(_read_secret_name)] | None = None
    git_push: Annotated[str, BeforeValidator(_read_push)] | None = None
    git_depth: Whole = 1
    git_submodules: Flag = False
    git_lfs: Flag = False
