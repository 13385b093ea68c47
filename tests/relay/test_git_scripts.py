"""The scripts that clone and push a workspace: success, error messages, and attacks by hostile clones."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.git_scripts import NONCE, GitPod
from tests.support.git_server import GitServer, git, git_server
from tests.support.programs import program

from paperclip_claude_k8s.relay import git as git_relay
from paperclip_claude_k8s.relay import script

NEW_COMMIT = ("git checkout -q -B fix", "echo new >new.txt", "git add new.txt", "git commit -q -m fix")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    program("git")
    (tmp_path / "git").mkdir()
    with git_server(tmp_path / "git") as served:
        yield served


@pytest.fixture
def url(server: GitServer) -> str:
    return server.new_repository("app", {"README": "hello\n"})


@pytest.fixture(params=["dash", "busybox", "bash"])
def pod(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> GitPod:
    return GitPod(tmp_path / "pod", url, request.param)


def cloned(pod: GitPod, **variables: str) -> dict[str, object]:
    """Clone, which must succeed, and return the report."""
    code, message = pod.clone(**variables)
    assert code == 0, message
    report: dict[str, object] = json.loads(message)
    return report


# ── clone ────────────────────────────────────────────────────────────────────────────────────────────────


def test_clone_of_default_branch_is_shallow_and_on_a_branch(pod: GitPod, server: GitServer) -> None:
    tip = server.commit("app", {"a": "2"})
    report = cloned(pod)
    assert (report["commit"], report["branch"], report["cached"], report["kept"]) == (
        tip,
        "main",
        False,
        None,
    )
    assert git("rev-list", "--count", "HEAD", cwd=pod.clone_folder) == "1"
    assert git("status", "--porcelain", cwd=pod.clone_folder) == ""


def test_clone_of_tag_commit_and_whole_history(pod: GitPod, server: GitServer) -> None:
    first = server.branches("app")["main"]
    git("tag", "v1", cwd=server.folder / "app.git")
    server.commit("app", {"a": "2"})
    assert cloned(pod, REFS="refs/heads/v1 refs/tags/v1")["commit"] == first
    assert cloned(pod, COMMIT=first)["branch"] == ""
    cloned(pod, DEPTH="0")
    assert git("rev-list", "--count", "HEAD", cwd=pod.clone_folder) == "2"


def test_branch_of_the_workspace_is_continued_or_created(pod: GitPod, server: GitServer) -> None:
    main = server.branches("app")["main"]
    assert cloned(pod, BRANCH="task-1")["commit"] == main
    assert git("symbolic-ref", "--short", "HEAD", cwd=pod.clone_folder) == "task-1"
    tip = server.commit("app", {"a": "2"}, branch="task-1")
    report = cloned(pod, BRANCH="task-1", REFS="refs/heads/main")
    assert (report["commit"], report["branch"]) == (tip, "task-1")
    assert git("rev-parse", "origin/main", cwd=pod.clone_folder) == main


def test_clone_of_an_empty_repository_is_empty(tmp_path: Path, server: GitServer) -> None:
    git("init", "-q", "--bare", str(server.folder / "empty.git"))
    pod = GitPod(tmp_path / "pod", f"{server.address}/empty.git")
    assert cloned(pod)["commit"] == ""
    assert (pod.clone_folder / ".git").is_dir()


def test_missing_branch_repository_and_server_are_named(pod: GitPod, server: GitServer) -> None:
    assert pod.clone(REFS="refs/heads/nope refs/tags/nope") == (
        75,
        "the repository has no branch or tag nope",
    )
    pod.url = f"{server.address}/nope.git"
    code, message = pod.clone()
    assert code == 75
    assert "not found" in message
    pod.url = "http://127.0.0.1:9/app.git"
    code, message = pod.clone()
    assert code == 75
    assert "Failed to connect" in message or "Couldn't connect" in message


def test_ssh_without_known_hosts_fails_before_it_connects(tmp_path: Path) -> None:
    program("ssh")
    pod = GitPod(tmp_path / "pod", "ssh://git@127.0.0.1:9/app.git")
    assert "there is no known_hosts" in pod.clone()[1]


# ── clone that may fail ──────────────────────────────────────────────────────────────────────────────────


def failure_of_optional_clone(pod: GitPod, **variables: str) -> str:
    """Why a clone failed that is optional: the agent may start without it, in an empty folder."""
    report = git_relay.read_clone_report(json.dumps(cloned(pod, OPTIONAL="1", **variables)), NONCE)
    assert report is not None
    assert list(pod.clone_folder.iterdir()) == []
    return report.failed


def test_private_repository_without_credentials_leaves_an_empty_folder(
    pod: GitPod, server: GitServer
) -> None:
    server.password = "p4ss"
    assert "could not read Username" in failure_of_optional_clone(pod)
    report = pod.push("fix")
    assert (report.pushed_branch, report.why) == ("", "the repository was not cloned")
    assert report.is_complete
    pod.agent("mkdir a", "printf 12345 >a/b", "printf 1 >'c d'")
    report = pod.push("fix")
    assert (report.files, report.file_bytes, report.is_complete) == (2, 6, False)


def test_repository_that_the_agent_makes_in_the_empty_folder_is_pushed(
    pod: GitPod, server: GitServer
) -> None:
    assert (
        failure_of_optional_clone(pod, REFS="refs/heads/nope") == "the repository has no branch or tag nope"
    )
    pod.agent("git init -q", *NEW_COMMIT)
    assert pod.push("fix").pushed_branch == "fix"


def test_image_without_git_leaves_an_empty_folder(tmp_path: Path, url: str) -> None:
    pod = GitPod(tmp_path / "pod", url, "busybox")
    (pod.folder / "bin" / "git").unlink()
    assert failure_of_optional_clone(pod) == "the image of this container has no git"
    assert (pod.folder / "sync" / "alive").is_fifo()
    assert pod.push("fix").is_complete


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_clone_from_a_server_that_does_not_answer_is_given_up(tmp_path: Path, shell: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pod = GitPod(tmp_path / "pod", f"http://127.0.0.1:{silent.getsockname()[1]}/app.git", shell)
        began = time.monotonic()
        assert failure_of_optional_clone(pod, SEC="2") == "it did not end within 2 seconds"
        assert time.monotonic() - began < 20


def test_clone_that_fails_at_a_submodule_leaves_an_empty_folder(
    pod: GitPod, server: GitServer, tmp_path: Path
) -> None:
    server.add_submodule("app", "part", "http://127.0.0.1:9/never.git")
    assert "git submodule update failed" in failure_of_optional_clone(pod, SUBMODULES="1")


# ── cache ────────────────────────────────────────────────────────────────────────────────────────────────


def test_second_clone_uses_the_objects_of_the_first(pod: GitPod, server: GitServer, tmp_path: Path) -> None:
    pod.volume = str(tmp_path / "volume")
    assert cloned(pod)["kept"] is True
    tip = server.commit("app", {"a": "2"})
    report = cloned(pod)
    assert (report["commit"], report["cached"], report["kept"]) == (tip, True, True)
    assert git("status", "--porcelain", cwd=pod.clone_folder) == ""
    assert git("rev-list", "--count", "HEAD", cwd=pod.clone_folder) == "1"
    assert "refs/paperclip" not in git("for-each-ref", cwd=pod.clone_folder)
    assert (tmp_path / "volume").stat().st_mode & 0o777 == 0o700
    assert [each.name for each in (tmp_path / "volume").iterdir()] == ["key"]


@pytest.mark.parametrize("damage", ["garbage", "short", "link", "pipe", "tips", "folder link"])
def test_damaged_cache_is_replaced(pod: GitPod, server: GitServer, tmp_path: Path, damage: str) -> None:
    pod.volume = str(tmp_path / "volume")
    cloned(pod)
    pack, tips = (tmp_path / "volume" / "key" / name for name in ("pack", "tips"))
    secret = tmp_path / "outside"
    secret.write_text("secret")
    match damage:
        case "garbage":
            pack.write_bytes(b"PACK" + os.urandom(500))
        case "short":
            pack.write_bytes(pack.read_bytes()[:60])
        case "link":
            pack.unlink()
            pack.symlink_to(secret)
        case "pipe":
            pack.unlink()
            os.mkfifo(pack)
        case "tips":
            tips.write_text(f"tip {'0' * 40}\nshallow $(id)\ntip --x\n")
        case _:
            (tmp_path / "volume" / "key").rename(tmp_path / "volume" / "old")
            (tmp_path / "volume" / "key").symlink_to(tmp_path / "volume" / "old")
    report = cloned(pod)
    assert (report["cached"], report["kept"]) == (False, True)
    assert secret.read_text() == "secret"
    assert cloned(pod)["cached"] is True


def test_cache_that_takes_long_to_read_leaves_time_for_the_clone(pod: GitPod, tmp_path: Path) -> None:
    pod.volume = str(tmp_path / "volume")
    cloned(pod)
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "git").write_text(
        f"""#!/bin/sh
case " $* " in *" index-pack --stdin "*) exec sleep 50 ;; esac
exec {program("git")} "$@"
"""
    )
    (slow / "git").chmod(0o755)
    pod.programs = str(slow)
    began = time.monotonic()
    assert cloned(pod, SEC="9", OPTIONAL="1")["cached"] is False
    assert time.monotonic() - began < 20
    assert git("status", "--porcelain", cwd=pod.clone_folder) == ""


def replaced_program(pod: GitPod, name: str, before: str) -> None:
    """Let the scripts run these commands of the shell before the program `name`."""
    folder = pod.folder / "replaced"
    folder.mkdir()
    (folder / name).write_text(f'#!/bin/sh\n{before}\nexec {program(name)} "$@"\n')
    (folder / name).chmod(0o755)
    pod.programs = str(folder)


def test_pipe_that_replaces_the_cache_after_its_check_does_not_block_the_clone(
    tmp_path: Path, url: str
) -> None:
    """Another agent of the volume can replace the file at any time."""
    pod = GitPod(tmp_path / "pod", url, volume=str(tmp_path / "volume"))
    cloned(pod)
    pack, calls = tmp_path / "volume" / "key" / "pack", tmp_path / "calls"
    # the script calls `date` at its beginning, and again just before it opens the file
    replaced_program(
        pod, "date", f'echo >>{calls}; [ "$(wc -l <{calls})" -ne 2 ] || {{ rm {pack}; mkfifo {pack}; }}'
    )
    assert cloned(pod, SEC="9")["cached"] is False
    assert git("status", "--porcelain", cwd=pod.clone_folder) == ""


def test_cache_is_not_written_through_a_link(tmp_path: Path, url: str) -> None:
    """An agent of another user can make links on the volume, but may not be able to write to the target."""
    pod = GitPod(tmp_path / "pod", url, volume=str(tmp_path / "volume"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "tips").write_text("mine")
    replaced_program(
        pod, "mkdir", f'for last; do :; done; case $last in */new-*) ln -s {outside} "$last" ;; esac'
    )
    assert cloned(pod)["kept"] is False
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("tips", "mine")]


def test_cache_that_cannot_be_written_is_reported_and_harmless(pod: GitPod, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pod.volume = str(tmp_path / "file" / "volume")
    assert cloned(pod)["kept"] is False


# ── credentials ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("secret", [{"username": "u", "password": "p4ss"}, {"token": "p4ss\n"}])
def test_password_of_the_secret_is_used_and_written_nowhere(
    tmp_path: Path, server: GitServer, url: str, secret: dict[str, str]
) -> None:
    server.password = "p4ss"
    pod = GitPod(tmp_path / "pod", url, secret=secret)
    cloned(pod)
    pod.agent(*NEW_COMMIT)
    assert pod.push("fix").pushed_branch == "fix"
    left = [
        path
        for path in (tmp_path / "pod").rglob("*")
        if path.is_file() and path.parent.name != "secret" and b"p4ss" in path.read_bytes()
    ]
    assert left == []


@pytest.mark.parametrize(
    "secret", [{}, {"password": "wrong"}, {"password": "p4ss", "url": "https://other.example/"}]
)
def test_missing_wrong_or_foreign_credentials_are_refused(
    tmp_path: Path, server: GitServer, url: str, secret: dict[str, str]
) -> None:
    server.password = "p4ss"
    code, message = GitPod(tmp_path / "pod", url, secret=secret).clone()
    assert code == 75
    assert "could not read Username" in message or "Authentication failed" in message


# ── push ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_push_to_a_named_branch_counts_what_is_not_pushed(pod: GitPod, server: GitServer) -> None:
    cloned(pod)
    pod.agent(*NEW_COMMIT, "echo x >>README", "printf 12345 >other", "git checkout -q -b more")
    pod.agent("echo y >y", "git add y", "git commit -q -m y", "git checkout -q fix")
    report = pod.push("agents/{branch}")
    assert (report.branch, report.pushed_branch, report.why, report.changed) == (
        "fix",
        "agents/fix",
        "",
        True,
    )
    assert (report.commits, report.files, report.file_bytes) == (1, 2, len("hello\nx\n") + 5)
    assert server.read("app", "agents/fix", "new.txt") == "new"


def test_nothing_is_pushed_without_commits_or_without_the_setting(pod: GitPod, server: GitServer) -> None:
    cloned(pod)
    report = pod.push("agents/x")
    assert (report.pushed_branch, report.changed, report.commits, report.files) == ("", False, 0, 0)
    assert report.is_complete
    pod.agent(*NEW_COMMIT)
    report = pod.push()
    assert (report.pushed_branch, report.why, report.commits) == ("", "gitPush is not set", 1)
    assert report.bytes
    assert list(server.branches("app")) == ["main"]


def test_branch_with_other_commits_is_never_overwritten(pod: GitPod, server: GitServer) -> None:
    cloned(pod)
    theirs = server.commit("app", {"a": "theirs"}, branch="fix")
    pod.agent(*NEW_COMMIT)
    report = pod.push("{branch}")
    assert report.pushed_branch == ""
    assert "rejected" in report.why
    assert (server.branches("app")["fix"], report.commits) == (theirs, 1)


def test_detached_head_needs_a_fixed_branch_name(pod: GitPod, server: GitServer) -> None:
    cloned(pod)
    pod.agent(
        "git checkout -q --detach", "echo 1 >f", "git add f", "git commit -q -m f", "git pack-refs --all"
    )
    assert "detached HEAD" in pod.push("x/{branch}").why
    assert pod.push("x").pushed_branch == "x"
    assert server.read("app", "x", "f") == "1"


def test_packed_refs_and_stash_are_counted(pod: GitPod) -> None:
    cloned(pod)
    pod.agent(*NEW_COMMIT, "echo z >>README", "git stash -q", "git pack-refs --all")
    report = pod.push()
    # a stash consists of two commits
    assert (report.branch, report.commits, report.files) == ("fix", 1 + 2, 0)


# ── hostile clones ───────────────────────────────────────────────────────────────────────────────────────

HOSTILE_CONFIG = """
[core]
 fsmonitor = "touch {mark}/fsmonitor"
 hooksPath = {mark}/../hooks
 sshCommand = "touch {mark}/ssh"
 askPass = "{mark}/../hooks/askpass"
 pager = "touch {mark}/pager"
 editor = "touch {mark}/editor"
 alternateRefsCommand = "touch {mark}/alternate"
[credential]
 helper = "!touch {mark}/helper"
[filter "x"]
 clean = "touch {mark}/clean"
 smudge = "touch {mark}/smudge"
 process = "touch {mark}/process"
[diff]
 external = "touch {mark}/diff"
[url "{evil}"]
 insteadOf = {url}
[remote "origin"]
 pushurl = {evil}
 receivepack = "touch {mark}/receivepack"
[push]
 gpgSign = true
[gpg]
 program = "touch {mark}/gpg"
[http]
 proxy = {evil}
[alias]
 push = "!touch {mark}/alias"
[include]
 path = {mark}/../included
"""


def test_config_and_hooks_of_the_clone_are_never_executed(
    pod: GitPod, server: GitServer, url: str, tmp_path: Path
) -> None:
    cloned(pod)
    pod.agent(*NEW_COMMIT)
    mark, hooks = tmp_path / "mark", tmp_path / "hooks"
    mark.mkdir()
    hooks.mkdir()
    git_dir = pod.clone_folder / ".git"
    for folder in (hooks, git_dir / "hooks"):
        folder.mkdir(exist_ok=True)
        for name in (
            "pre-push",
            "post-index-change",
            "reference-transaction",
            "fsmonitor-watchman",
            "askpass",
        ):
            (folder / name).write_text(f"#!/bin/sh\ntouch {mark}/{name}\n")
            (folder / name).chmod(0o755)
    evil = f"{server.address}/evil.git"
    (git_dir / "config").write_text(HOSTILE_CONFIG.format(mark=mark, evil=evil, url=url))
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text("* filter=x diff=x\n")
    (pod.clone_folder / ".gitattributes").write_text("* filter=x diff=x\n")
    (pod.clone_folder / ".lfsconfig").write_text(f"[lfs]\n url = {evil}\n")
    server.requests.clear()
    report = pod.push("fix")
    assert (report.pushed_branch, report.files) == ("fix", 2)
    assert list(mark.iterdir()) == []
    assert not any("evil" in request for request in server.requests)


def _link_head(git_dir: Path, outside: Path) -> None:
    (git_dir / "HEAD").unlink()
    (git_dir / "HEAD").symlink_to(outside / "token")


def _pipe_head(git_dir: Path, _: Path) -> None:
    (git_dir / "HEAD").unlink()
    os.mkfifo(git_dir / "HEAD")


def _link_git(git_dir: Path, outside: Path) -> None:
    git_dir.rename(outside / "moved")
    git_dir.symlink_to(outside / "moved")


def _remove_git(git_dir: Path, outside: Path) -> None:
    git_dir.rename(outside / "moved")


def _link_workspace(git_dir: Path, outside: Path) -> None:
    git_dir.parent.rename(outside / "moved")
    git_dir.parent.symlink_to(outside)


def _text_as_ref(git_dir: Path, _: Path) -> None:
    (git_dir / "refs" / "heads" / "fix").write_text("s3cret-token\n")


def _head_leads_out(git_dir: Path, outside: Path) -> None:
    (git_dir / "HEAD").write_text(f"ref: refs/heads/../../../../../{outside}/token\n")


def _pipe_as_packed_refs(git_dir: Path, _: Path) -> None:
    (git_dir / "refs" / "heads" / "fix").unlink()
    os.mkfifo(git_dir / "packed-refs")


def _pipes_as_objects(git_dir: Path, _: Path) -> None:
    for found in list((git_dir / "objects").glob("??/*")):
        found.unlink()
        os.mkfifo(found)


def _linked_objects(git_dir: Path, outside: Path) -> None:
    (git_dir / "objects" / "pack").rename(outside / "pack")
    (git_dir / "objects" / "pack").symlink_to(outside / "pack")


def _linked_refs(git_dir: Path, outside: Path) -> None:
    (outside / "fix").write_text(f"{'a' * 40}\n")  # a token may look like the id of a commit
    (git_dir / "refs" / "heads").rename(outside / "heads")
    (git_dir / "refs" / "heads").symlink_to(outside)


ATTACKS = [
    _linked_refs,
    _pipes_as_objects,
    _linked_objects,
    _link_head,
    _pipe_head,
    _link_git,
    _remove_git,
    _link_workspace,
    _text_as_ref,
    _head_leads_out,
    _pipe_as_packed_refs,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_clone_with_links_or_pipes_reveals_nothing_and_does_not_hang(
    pod: GitPod, server: GitServer, tmp_path: Path, attack: Callable[[Path, Path], None]
) -> None:
    cloned(pod)
    pod.agent(*NEW_COMMIT)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "token").write_text("s3cret-token\n")
    attack(pod.clone_folder / ".git", outside)
    report = pod.push("fix")
    assert report.pushed_branch == ""
    assert report.why
    assert not re.search("s3cret|a{40}", str(report))
    assert list(server.branches("app")) == ["main"]


@pytest.mark.parametrize("branch", ['a"b', "x'y", "$(id)", "a`id`", "ü", "x;id"])
def test_odd_branch_names_are_pushed_as_they_are(pod: GitPod, server: GitServer, branch: str) -> None:
    cloned(pod)
    (pod.folder / "name").write_text(branch)
    pod.agent('git checkout -q -B "$(cat ../../name)"', *NEW_COMMIT[1:])
    assert pod.push("{branch}").pushed_branch
    assert branch in server.branches("app")


def test_submodules_are_cloned_only_if_configured(pod: GitPod, server: GitServer) -> None:
    part = server.new_repository("part", {"inner": "1\n"})
    work = server.folder / "app.work"
    git("-c", "protocol.allow=always", "submodule", "--quiet", "add", part, "part", cwd=work)
    server.commit("app", {})
    cloned(pod)
    assert not (pod.clone_folder / "part" / "inner").exists()
    cloned(pod, SUBMODULES="1")
    assert (pod.clone_folder / "part" / "inner").read_text() == "1\n"


@pytest.mark.parametrize(
    ("limit", "address", "is_given"),
    [
        ("", "{server}/part.git", True),
        ("/", "{server}/part.git", True),
        ("/app.git", "{server}/part.git", False),
        ("/app.git", "{server}/app.git/../part.git", False),
        ("/app.git", "{server}/app.git/%2e%2e/part.git", False),
        ("/app.git", "{user_server}/app.git@{host}/../../part.git", False),
    ],
)
def test_limited_password_is_not_given_to_submodules_elsewhere(
    pod: GitPod,
    server: GitServer,
    limit: str,
    address: str,
    is_given: bool,  # noqa: FBT001
) -> None:
    server.new_repository("part", {"inner": "1\n"})
    host = server.address.removeprefix("http://")
    address = address.format(server=server.address, user_server=f"http://u@{host}", host=host)
    server.add_submodule("app", "part", address)
    server.password = "p4ss"
    (pod.folder / "secret" / "password").write_text("p4ss")
    if limit:
        (pod.folder / "secret" / "url").write_text(f"{server.address}{limit}\n")
    pod.secret = {"password": "p4ss"}
    code, message = pod.clone(SUBMODULES="1")
    assert (code == 0) is is_given, message
    assert (pod.clone_folder / "part" / "inner").exists() is is_given
    assert is_given or "could not read Username" in message or "could not read Password" in message
    if is_given:
        pod.agent(*NEW_COMMIT)
        assert pod.push("fix").pushed_branch == "fix"


OLD_GIT = """#!/bin/sh
while read -r prompt; do "$GIT_ASKPASS" "$prompt" >>{folder}/answers; done <{folder}/prompts
exit 1
"""
"""Asks for a password like an old git, which does not percent-encode the name of the user in the prompt."""


@pytest.mark.parametrize(
    ("limit", "prompt", "is_given"),
    [
        ("", "https://host.invalid", True),
        ("", "https://x-access-token@host.invalid", True),
        ("", "https://someone%40acme@host.invalid", True),
        ("", "https://@host.invalid'@evil.invalid", False),
        ("", "https://x'https://host.invalid'@evil.invalid", False),
        ("", "https://x@evil.invalid@host.invalid", False),
        ("", "https://host.invalid@evil.invalid", False),
        ("", "https://host.invalid.evil.invalid", False),
        ("", "http://host.invalid", False),
        ("https://host.invalid/acme", "https://x-access-token@host.invalid/acme/part.git", True),
        ("https://host.invalid/acme", "https://host.invalid/acme/x@evil.invalid/part.git", False),
        ("https://host.invalid/acme", "https://u@host.invalid/acme/x@evil.invalid/part.git", False),
        ("https://host.invalid/acme", "https://x-access-token@host.invalid/acme/@evil.invalid/a", False),
        ("https://host.invalid/acme", "https://host.invalid/other", False),
        ("https://host.invalid/acme", "http://host.invalid/acme/part.git", False),
    ],
)
def test_password_is_given_only_for_the_server_and_not_for_a_user_named_like_it(
    tmp_path: Path,
    limit: str,
    prompt: str,
    is_given: bool,  # noqa: FBT001
) -> None:
    secret = {"password": "p4ss", **({"url": limit} if limit else {})}
    pod = GitPod(tmp_path / "pod", "https://host.invalid/acme/app.git", secret=secret, programs=str(tmp_path))
    (tmp_path / "prompts").write_text(f"Password for '{prompt}': \n")
    (tmp_path / "git").write_text(OLD_GIT.format(folder=tmp_path))
    (tmp_path / "git").chmod(0o755)
    pod.clone()
    assert (tmp_path / "answers").read_text() == ("p4ss" if is_given else "")


def test_user_of_the_secret_may_be_an_email_address(tmp_path: Path, server: GitServer, url: str) -> None:
    server.password = "p4ss"
    pod = GitPod(tmp_path / "pod", url, secret={"username": "bot@acme.invalid", "password": "p4ss"})
    cloned(pod)
    assert "bot@acme.invalid:p4ss" in server.logins


FAKE_SSH = """#!/bin/sh
echo "$@" >>{folder}/calls
for last; do :; done
first=${{last%%\\'*}} path=${{last#*\\'}}
exec sh -c "$first '{folder}/${{path#/}}"
"""


SSH_LIMIT, SCP_LIMIT = "ssh://git@host.invalid/acme/", "git@host.invalid:acme"


@pytest.mark.parametrize(
    ("limit", "address", "is_allowed"),
    [
        (SSH_LIMIT, "git@host.invalid:acme/part.git", True),
        (SCP_LIMIT, "ssh://git@HOST.invalid/acme/part.git", True),
        (SCP_LIMIT, "../part.git", True),
        (SSH_LIMIT, "git@host.invalid:other/part.git", False),
        (SCP_LIMIT, "git@host.invalid:acme-other/part.git", False),
        (SSH_LIMIT, "git@host.invalid:acme/../other/part.git", False),
        (SCP_LIMIT, "git@other.invalid:acme/part.git", False),
        (SSH_LIMIT, "root@host.invalid:acme/part.git", False),
        (SSH_LIMIT, "ssh://git@host.invalid:2222/acme/part.git", False),
        (SCP_LIMIT, "ssh://git@host.invalid/acme'/part.git", False),
    ],
)
def test_limited_key_is_not_given_to_submodules_elsewhere(  # noqa: PLR0917
    pod: GitPod,
    server: GitServer,
    tmp_path: Path,
    limit: str,
    address: str,
    is_allowed: bool,  # noqa: FBT001
) -> None:
    server.new_repository("part", {"inner": "1\n"})
    server.add_submodule("app", "part", address)
    hosted = tmp_path / "hosted"
    for folder in ("acme", "other", "acme-other"):
        (hosted / folder).mkdir(parents=True)
        for name in ("app", "part"):
            (hosted / folder / f"{name}.git").symlink_to(server.folder / f"{name}.git")
    (hosted / "ssh").write_text(FAKE_SSH.format(folder=hosted))
    (hosted / "ssh").chmod(0o755)
    pod.url = "ssh://git@host.invalid/acme/app.git" if "//" in limit else "git@host.invalid:acme/app.git"
    pod.scheme, pod.programs = "ssh", str(hosted)
    pod.secret = {"ssh-privatekey": "KEY", "known_hosts": "host.invalid,other.invalid key", "url": limit}
    for name, text in pod.secret.items():
        (pod.folder / "secret" / name).write_text(text)
    code, message = pod.clone(SUBMODULES="1")
    assert (code == 0) is is_allowed, message
    assert (pod.clone_folder / "part" / "inner").exists() is is_allowed
    calls = (hosted / "calls").read_text().splitlines()
    assert all("host.invalid" in call.lower() and "acme/" in call for call in calls)
    if is_allowed:
        pod.agent(*NEW_COMMIT)
        assert pod.push("fix").pushed_branch == "fix"
    else:
        assert "git submodule update failed" in message


@pytest.mark.parametrize("address", ["../outside", "/outside", "file:///outside", "ext::sh -c touch% mark"])
def test_submodule_with_another_protocol_is_refused(pod: GitPod, server: GitServer, address: str) -> None:
    server.new_repository("outside", {"inner": "1\n"})
    address = address.replace("/outside", f"{server.folder}/outside.git") if "../" not in address else address
    server.add_submodule("app", "part", address)
    code, message = pod.clone(SUBMODULES="1")
    assert code == 75
    assert "git submodule update failed" in message
    assert not (pod.clone_folder / "part" / "inner").exists()
    assert list(pod.folder.rglob("mark")) == []


# ── Git LFS, where it is installed ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def lfs_pod(tmp_path: Path) -> GitPod:
    """The Pod of a repository with one file of Git LFS, `a.bin`, without a server in between."""
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    server = GitServer(tmp_path, f"file://{tmp_path}")
    url, work = server.new_repository("large", {"README": "hello\n"}), tmp_path / "large.work"
    git("remote", "add", "origin", url, cwd=work)
    git("lfs", "install", "--local", cwd=work)
    git("lfs", "track", "*.bin", cwd=work)
    (work / "a.bin").write_bytes(b"a" * 5000)
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "large", cwd=work)
    git("push", "-q", "origin", "main", cwd=work)
    return GitPod(tmp_path / "pod", url)


def test_lfs_files_are_fetched_and_pushed(lfs_pod: GitPod, tmp_path: Path) -> None:
    cloned(lfs_pod, LFS="1")
    assert (lfs_pod.clone_folder / "a.bin").stat().st_size == 5000
    lfs_pod.agent(
        "git checkout -q -B fix", "head -c 7000 /dev/zero >b.bin", "git add b.bin", "git commit -q -m b"
    )
    report = lfs_pod.push("fix", LFS="1")
    assert (report.pushed_branch, report.files) == ("fix", 0)
    again = GitPod(tmp_path / "again", lfs_pod.url)
    cloned(again, LFS="1", REFS="refs/heads/fix")
    assert (again.clone_folder / "b.bin").stat().st_size == 7000


def test_lfs_object_that_is_a_link_is_not_uploaded(lfs_pod: GitPod, tmp_path: Path) -> None:
    cloned(lfs_pod, LFS="1")
    (tmp_path / "token").write_text("s3cret")
    oid = "ab" * 32
    pointer = f"version https://git-lfs.github.com/spec/v1\\noid sha256:{oid}\\nsize 6\\n"
    lfs_pod.agent(
        f"printf '{pointer}' >../pointer; id=$(git hash-object -w --no-filters ../pointer)",
        "git update-index --add --cacheinfo 100644,$id,p.bin",
        f"printf '[lfs]\\n url = file://{tmp_path}/evil.git\\n' >.lfsconfig; git add .lfsconfig",
        "git commit -q -m evil; mkdir -p .git/lfs/objects/ab/ab",
        f"ln -s {tmp_path}/token .git/lfs/objects/ab/ab/{oid}",
    )
    report = lfs_pod.push("evil", LFS="1")
    assert report.pushed_branch == ""
    assert "git lfs push failed" in report.why
    assert not list(tmp_path.glob("*.git/**/ab*ab"))


FAKE_LFS = """#!/bin/sh
case $1 in
  push) ls "$GIT_DIR/lfs/objects" >"{seen}" ;;
esac
"""


@pytest.mark.parametrize("ends", [True, False])
def test_lfs_files_are_pushed_only_after_the_agents_container_has_ended(
    pod: GitPod,
    tmp_path: Path,
    ends: bool,  # noqa: FBT001
) -> None:
    """An agent can write the mark of its end itself, and could then replace examined files by links."""
    seen, fake = tmp_path / "seen", tmp_path / "programs" / "git-lfs"
    fake.parent.mkdir()
    fake.write_text(FAKE_LFS.format(seen=seen))
    fake.chmod(0o755)
    cloned(pod)
    pod.agent(*NEW_COMMIT, "mkdir -p .git/lfs/objects/ab")
    pod.programs = str(fake.parent)
    relay_end = os.open(pod.folder / "sync" / "alive", os.O_RDWR)
    os.write(relay_end, b"an agent may write into the pipe, too\n")
    closing = threading.Timer(2, os.close, [relay_end])
    if ends:
        closing.start()
    report = pod.push("fix", LFS="1", CONTAINER_SEC="20" if ends else "1")
    assert (report.pushed_branch, seen.exists()) == (("fix", True) if ends else ("", False))
    assert ends or "did not end" in report.why
    if not ends:
        os.close(relay_end)


def test_push_ends_if_the_agents_container_never_starts(pod: GitPod) -> None:
    cloned(pod)
    report = pod.push("fix", agent_ends=False, START_SEC="1")
    assert (report.pushed_branch, report.why) == ("", "there is no new commit")


def test_time_limits_use_sigkill_because_programs_may_ignore_sigterm() -> None:
    lines = [line for line in script("git_push.sh").splitlines() if "#" not in line]
    limits = re.findall(r"\btimeout (\S+ \S+) ", "\n".join(lines))
    assert len(limits) > 5  # the pattern finds the limits of the script
    assert set(limits) == {"-s KILL"}
    busybox = program("busybox")
    ignoring = f"trap '' TERM; {busybox} timeout -s KILL 1 sleep 30"
    subprocess.run([busybox, "sh", "-c", ignoring], timeout=20, check=False)
