"""The repository of a workspace: what the host's context names, examined before it is passed to git.

The values come from authors of configs and tasks. A URL must not hold a password. Git must not take it for an
option, a local path or a remote helper (`ext::`). It must match the policy's `repositories`.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, unquote, urlsplit

from paperclip_claude_k8s.base.git_names import branch_trouble
from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.host.policy import DEFAULT_REPOSITORIES, matches
from paperclip_claude_k8s.host.redact import looks_like_credential

_SCHEMES = frozenset({"https", "ssh", "http", "git", "file"})
"""What this adapter can pass to git; the policy allows only the first two by default."""
_MAX_CHARS = 2000
_ILLEGAL = re.compile(r"[\x00-\x20\x7f\"'<>\\^`{|}\ud800-\udfff]")
_SCP_LIKE = re.compile(r"(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^:/].*|/[^/].*)")
"""`git@host:group/project.git`, which git understands as SSH."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS = 60


class SourceRefused(ValueError):
    """The context's repository cannot be used; the message is a clause without secrets."""


class RepositoryNotAllowed(SourceRefused):
    """The administrator's policy does not allow the repository."""


@dataclass(frozen=True, slots=True)
class GitSource:
    """A repository, and the version that is checked out."""

    url: str
    """The URL that git gets, without a password."""
    name: str
    """Name of the clone's folder, made from the URL."""
    scheme: str
    host: str
    """Host name as the URL spells it, with the port if the URL has one; "" for a local repository."""
    refs: tuple[str, ...] = ()
    """Refs such as `refs/heads/main`: the first that exists is checked out. Empty: the default branch."""
    commit: str = ""
    """The id of the commit to check out; if it is set, `refs` is empty."""
    branch: str = ""
    """The branch of this workspace, created if the repository does not have it; "" for no branch."""
    note: str = ""
    """A sentence about a value of the context that was ignored; "" if none was ignored."""

    @property
    def shown(self) -> str:
        """Repository and version, for messages."""
        version = self.commit[:12] or (self.refs[0].split("/", 2)[2] if self.refs else "its default branch")
        return f"{self.url} at {version}"


def read_git_source(
    workspace: Mapping[str, object], repositories: Sequence[str] = DEFAULT_REPOSITORIES
) -> GitSource | None:
    """The repository of the context's workspace; None if the workspace names no repository.

    `repositories`: the patterns of the policy.

    Raises:
        SourceRefused: URL or version cannot be used, or the policy does not allow the URL.
    """
    url = as_trimmed(workspace.get("repoUrl"))
    if not url:
        return None
    source = _read_url(url, repositories)
    refs, commit = _read_ref(as_trimmed(workspace.get("repoRef")) or "")
    branch = as_trimmed(workspace.get("branchName")) or ""
    note = ""
    if branch and (trouble := branch_trouble(branch)):
        note = f"The workspace's branch name is ignored: {trouble}"
        branch = ""
    return replace(source, refs=refs, commit=commit, branch=branch, note=note)


def _read_url(url: str, repositories: Sequence[str]) -> GitSource:
    if len(url) > _MAX_CHARS or _ILLEGAL.search(url):
        raise SourceRefused("repoUrl is too long, or contains a character that no URL has")
    if "://" not in url:
        return _read_scp_like(url, repositories)
    try:
        parts = urlsplit(url)
        _check_parts(parts)
        _ = parts.port  # raises ValueError unless it is a number from 0 to 65535
    except ValueError as error:
        if isinstance(error, SourceRefused):
            raise
        raise SourceRefused("repoUrl is not a URL") from None
    host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    _check_allowed(f"{parts.scheme}://{host}{parts.path}", repositories)
    spelled = parts.netloc.rpartition("@")[2]  # as git spells the host when it asks for a password
    return GitSource(url, folder_name(unquote(parts.path)), parts.scheme, spelled)


def _read_scp_like(url: str, repositories: Sequence[str]) -> GitSource:
    found = _SCP_LIKE.fullmatch(url)
    if found is None:
        raise SourceRefused("repoUrl is neither a URL such as https://HOST/PATH nor USER@HOST:PATH")
    host, path = found[2].lower(), found[3]
    _check_path(path)
    _check_allowed(f"ssh://{host}/{path.lstrip('/')}", repositories)
    return GitSource(url, folder_name(unquote(path)), "ssh", host)


def _check_parts(parts: SplitResult) -> None:
    if parts.scheme not in _SCHEMES:
        raise SourceRefused(f"repoUrl has the protocol {parts.scheme[:20]!r}, which is not supported")
    if parts.password is not None or looks_like_credential(parts.username or ""):
        raise SourceRefused("repoUrl contains a password or token; put it into a Secret, see gitSecret")
    if parts.username is not None and not _USER.fullmatch(parts.username):
        raise SourceRefused("repoUrl contains a user name that cannot be used")
    if parts.query or parts.fragment or "?" in parts.path:
        raise SourceRefused("repoUrl has a query or a fragment")
    if not _HOST.fullmatch(parts.hostname or "") and not (parts.scheme == "file" and not parts.netloc):
        raise SourceRefused("repoUrl names no host that can be used")
    _check_path(parts.path)


def _check_path(path: str) -> None:
    """Refuse a path that a server or client would resolve to another path than the patterns match."""
    if any(unquote(part) in {".", ".."} for part in unquote(path).split("/")):
        raise SourceRefused("the path in repoUrl contains . or .. as a part")
    if not path.strip("/"):
        raise SourceRefused("repoUrl has no path")


def _check_allowed(url: str, repositories: Sequence[str]) -> None:
    if not matches(url, repositories):
        raise RepositoryNotAllowed(f"the policy's repositories do not allow {url[:200]}")


def folder_name(path: str, default: str = "repository") -> str:
    """The folder's name for a path: `/group/project.git` → `project`."""
    last = posixpath.basename(path.rstrip("/")).removesuffix(".git")
    return _NOT_IN_NAME.sub("-", last).strip(".-")[:_NAME_CHARS] or default


def _read_ref(ref: str) -> tuple[tuple[str, ...], str]:
    """Full names of the refs to look for, and the commit id, if any. `origin/main` also stands for `main`."""
    if not ref or ref == "HEAD":
        return (), ""
    if _COMMIT.fullmatch(ref):
        return (), ref
    if trouble := branch_trouble(ref):
        raise SourceRefused(f"repoRef {ref[:80]!r} cannot be the name of a branch or tag: {trouble}")
    if ref.startswith("refs/"):
        return (ref,), ""
    names = [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    if ref.startswith("origin/") and ref.removeprefix("origin/"):
        names.append(f"refs/heads/{ref.removeprefix('origin/')}")
    return tuple(names), ""
