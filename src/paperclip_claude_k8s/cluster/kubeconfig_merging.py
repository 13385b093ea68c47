"""Merges kubeconfigs as kubectl merges the files of KUBECONFIG, and finds one context in them.

The first file that defines a cluster, user or context defines it completely: nothing of a later definition of
that name is added. The current context is that of the first file that names one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_object, get_objects
from paperclip_claude_k8s.cluster.kubeconfig_yaml import KubeconfigInvalid

SHOWN_CONTEXTS = 20
"""How many names of contexts a message lists."""
_SHOWN_CHARS = 60


class ContextUnknown(KubeconfigInvalid):
    """There is no such context, or none was chosen; the text lists those that there are."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A kubeconfig, or a part of one, and the file in which it is."""

    path: str
    """The file, as the config spells it."""
    folder: str
    """Paths in the file are relative to this folder."""
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """A context with its cluster and user; the user has no fields if the context names none."""

    name: str
    context: Mapping[str, Any] = field(repr=False)
    cluster: Definition
    user: Definition


def select_context(files: Sequence[Definition], name: str | None) -> Selection:
    """Find a context; None: the current one.

    Raises:
        KubeconfigInvalid: there is no such context, or its cluster or user is missing or defined twice.
    """
    if not any(file.fields.get("clusters") for file in files):
        raise KubeconfigInvalid("has no clusters")
    current = name or next(filter(None, (file.fields.get("current-context") for file in files)), None)
    if current is None:
        raise ContextUnknown(f"has no current-context: {_context_list(files)}")
    context = _find(files, "contexts", current)
    if context is None and name is not None:
        raise ContextUnknown(f"has no context {_shown(name)}: {_context_list(files)}")
    if context is None:
        why = f"its current-context names none of its contexts: {_context_list(files)}"
        raise ContextUnknown(f"cannot be used: {why}")
    cluster = _find(files, "clusters", context.fields.get("cluster"))
    if cluster is None:
        raise KubeconfigInvalid("cannot be used: it must have exactly one cluster named by its context")
    user: Definition | None = Definition(context.path, context.folder, {})
    if context.fields.get("user"):
        user = _find(files, "users", context.fields["user"])
    if user is None:
        raise KubeconfigInvalid("cannot be used: it must have exactly one user named by its context")
    return Selection(str(current), context.fields, cluster, user)


def _find(files: Sequence[Definition], plural: str, name: object) -> Definition | None:
    """The entry of this name in the first file that has any; None without one, or if this file has two."""
    for file in files:
        found = [entry for entry in get_objects(file.fields, plural) if entry.get("name") == name]
        if len(found) == 1:
            return Definition(file.path, file.folder, get_object(found[0], plural.removesuffix("s")))
        if found:
            return None
    return None


def _context_list(files: Sequence[Definition]) -> str:
    """The contexts that there are, for a message."""
    names = list(dict.fromkeys(_context_names(files)))
    if not names:
        return "it has no contexts"
    more = f" and {len(names) - SHOWN_CONTEXTS} more" if len(names) > SHOWN_CONTEXTS else ""
    return f"its contexts are {', '.join(map(_shown, names[:SHOWN_CONTEXTS]))}{more}"


def _context_names(files: Sequence[Definition]) -> Iterator[str]:
    for file in files:
        for entry in get_objects(file.fields, "contexts"):
            if isinstance(entry.get("name"), str):
                yield entry["name"]


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_CHARS else f"{name[: _SHOWN_CHARS - 3]}...")
