"""Repositories that a run's context names. Whoever wrote the context may be hostile."""

import pytest

from paperclip_claude_k8s.plan.git_source import RepositoryNotAllowed, SourceRefused, read_git_source

ALL_ALLOWED = ("*",)


@pytest.mark.parametrize(
    ("url", "name", "scheme", "host"),
    [
        ("https://github.com/acme/app.git", "app", "https", "github.com"),
        ("https://github.com/acme/app/", "app", "https", "github.com"),
        ("https://user@git.acme.io:8443/a/b%20c.git", "b-c", "https", "git.acme.io:8443"),
        ("https://HOST/a", "a", "https", "HOST"),
        ("ssh://git@host:2222/a/b.git", "b", "ssh", "host:2222"),
        ("git@host:a/b.git", "b", "ssh", "host"),
        ("git@host:/srv/b.git", "b", "ssh", "host"),
        ("https://host/a/..git", "repository", "https", "host"),
        ("https://host/a/-x", "x", "https", "host"),
    ],
)
def test_repository_is_read_with_name_protocol_and_host(url: str, name: str, scheme: str, host: str) -> None:
    source = read_git_source({"repoUrl": f" {url} "})
    assert source is not None
    assert (source.url, source.name, source.scheme, source.host) == (url, name, scheme, host)


@pytest.mark.parametrize("workspace", [{}, {"repoUrl": None}, {"repoUrl": " "}, {"repoUrl": 3}])
def test_context_without_repository_has_no_source(workspace: dict[str, object]) -> None:
    assert read_git_source(workspace) is None


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/x",
        "-u https://host/a",
        "ext::sh -c id",
        "ext::https://host/a",
        "fd::17/x",
        "/srv/git/app",
        "../app",
        "file.git",
        "ftp://host/a",
        "ext+https://host/a",
        "https://host/a b",
        "https://host/a\nb",
        "https://host/a\x00b",
        "https://host/a\\..\\b",
        "https://host/a/../b",
        "https://host/a/%2e%2e/b",
        "https://host/a/%252e%252e/b",
        "https://host/a/%2e%2e%2fb",
        "https://host/./a",
        "https://host",
        "https://host/",
        "https:///a",
        "https://-oProxyCommand=id/a",
        "ssh://-oProxyCommand=id/a",
        "ssh://-x@host/a",
        "-oProxyCommand=id@host:a",
        "git@-oProxyCommand=id:a",
        "git@host:",
        "git@host:a/../../b",
        "https://user:secret@host/a",
        "https://:@host/a",
        "https://ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@host/a",
        "https://host:99999/a",
        "https://host:x/a",
        "https://host/a?x=1",
        "https://host/a#x",
        "https://ho$(id)st/a",
        "https://host/`id`",
        "https://[::1/a",
        "https://host/" + "a" * 2000,
    ],
)
def test_dangerous_or_unusable_url_is_refused_whatever_the_policy(url: str) -> None:
    with pytest.raises(SourceRefused) as refused:
        read_git_source({"repoUrl": url}, ALL_ALLOWED)
    # messages may mention the setting gitSecret, but not the password in a URL
    assert "secret" not in str(refused.value).replace("gitSecret", "").replace("a Secret", "")
    assert "ghp_" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "patterns"),
    [
        ("http://host/a", ("https://*", "ssh://*")),
        ("git://host/a", ("https://*", "ssh://*")),
        ("file:///srv/a", ("https://*", "ssh://*")),
        ("https://github.com/other/a", ("https://github.com/acme/*",)),
        ("https://github.com@evil.example/acme/a", ("https://github.com*",)),
        ("https://github.com:8443/acme/a", ("https://github.com/*",)),
        ("git@evil.example:acme/a", ("ssh://github.com/*",)),
    ],
)
def test_url_outside_of_the_policy_is_not_allowed(url: str, patterns: tuple[str, ...]) -> None:
    with pytest.raises(RepositoryNotAllowed, match="repositories"):
        read_git_source({"repoUrl": url}, patterns)


def test_scp_like_address_is_matched_as_ssh() -> None:
    assert read_git_source({"repoUrl": "git@github.com:acme/a.git"}, ("ssh://github.com/acme/*",)) is not None


@pytest.mark.parametrize(
    ("ref", "refs", "commit"),
    [
        ("", (), ""),
        ("HEAD", (), ""),
        ("main", ("refs/heads/main", "refs/tags/main"), ""),
        ("refs/heads/x/y", ("refs/heads/x/y",), ""),
        ("origin/main", ("refs/heads/origin/main", "refs/tags/origin/main", "refs/heads/main"), ""),
        ("0123456789abcdef0123456789abcdef01234567", (), "0123456789abcdef0123456789abcdef01234567"),
    ],
)
def test_version_is_a_list_of_refs_or_a_commit(ref: str, refs: tuple[str, ...], commit: str) -> None:
    source = read_git_source({"repoUrl": "https://host/a", "repoRef": ref})
    assert source is not None
    assert (source.refs, source.commit) == (refs, commit)


@pytest.mark.parametrize(
    "ref",
    [
        *("-x", "--upload-pack=x", "a..b", "a b", "a:b", "a^b", "a~1", "a*", "a?", "a[b", "a\\b", "a//b"),
        *("@{u}", "a.lock", "a/.b", "/a", "a/", "a.", "@", "x" * 201),
    ],
)
def test_version_that_git_could_misread_is_refused(ref: str) -> None:
    with pytest.raises(SourceRefused, match="repoRef"):
        read_git_source({"repoUrl": "https://host/a", "repoRef": ref})


def test_branch_name_that_cannot_be_used_is_ignored_with_a_note() -> None:
    source = read_git_source({"repoUrl": "https://host/a", "branchName": "a..b"})
    assert source is not None
    assert source.branch == ""
    assert "branch name is ignored" in source.note
