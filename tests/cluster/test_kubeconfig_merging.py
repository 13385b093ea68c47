"""Kubeconfigs are merged and a context is chosen as by kubectl; one test compares with kubectl itself."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.programs import program

from paperclip_claude_k8s.base.settings import Limits, Timings
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.kubeconfig import Kubeconfig, KubeconfigReader, KubeconfigRules
from paperclip_claude_k8s.cluster.port import POLICY_REFUSED, UNUSABLE_CREDENTIALS, ClusterError

NAMED_BY_POLICY = KubeconfigRules(trusted=True, may_run=lambda _: True)
"""The policy names the kubeconfigs that may be used."""


def write_kubeconfig(path: Path, current: str | None = None, **parts: dict[str, Any]) -> str:
    """Write a kubeconfig with these clusters, users and contexts, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = {
        plural: [{"name": name, plural.removesuffix("s"): fields} for name, fields in entries.items()]
        for plural, entries in parts.items()
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        **lists,
        **({"current-context": current} if current else {}),
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def write_two_files(folder: Path) -> str:
    """Write two files, both of which define a cluster, a user and a context of the same names.

    Returns a list of paths like that of KUBECONFIG. Between the two files the list has an empty path and the
    path of a missing file.
    """
    first = write_kubeconfig(
        folder / "a" / "one",
        "first",
        clusters={"both": {"server": "https://a.example", "certificate-authority": "ca.crt"}},
        users={"both": {"username": "a"}},
        contexts={"first": {"cluster": "both", "user": "both"}, "across": {"cluster": "b", "user": "b"}},
    )
    second = write_kubeconfig(
        folder / "b" / "two",
        "second",
        clusters={
            "both": {"server": "https://b.example", "tls-server-name": "b", "certificate-authority": "b.crt"},
            "b": {"server": "https://only-b.example", "certificate-authority": "b.crt"},
        },
        users={"both": {"username": "b", "password": "b"}, "b": {"tokenFile": "token"}},
        contexts={
            "first": {"cluster": "b", "user": "b", "namespace": "b"},
            "second": {"cluster": "b", "user": "b", "namespace": "b"},
        },
    )
    return os.pathsep.join([first, "", str(folder / "missing"), second])


async def read(
    paths: str, context: str | None = None, rules: KubeconfigRules = NAMED_BY_POLICY, **limits: int
) -> Kubeconfig:
    return await KubeconfigReader(rules, Limits(**limits), Timings()).read(paths, context)


async def error_of(
    paths: str, context: str | None = None, rules: KubeconfigRules = NAMED_BY_POLICY
) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await read(paths, context, rules)
    assert caught.value.status is None
    assert not caught.value.retryable
    return caught.value


def read_by_kubectl(paths: str, context: str | None) -> Any:
    chosen = ["--context", context] if context else []
    command = [program("kubectl"), "config", "view", "--raw", "--minify", "-o", "json", *chosen]
    printed = subprocess.run(
        command, env={"KUBECONFIG": paths, "HOME": "/nonexistent"}, check=True, capture_output=True
    )
    return json.loads(printed.stdout)


@pytest.mark.parametrize("context", [None, "first", "second", "across"])
async def test_merged_files_equal_what_kubectl_reads(context: str | None, tmp_path: Path) -> None:
    paths = write_two_files(tmp_path)
    ours, theirs = await read(paths, context), read_by_kubectl(paths, context)
    assert ours.context == theirs["current-context"]
    assert ours.cluster.fields == theirs["clusters"][0]["cluster"]
    assert ours.user.fields == theirs["users"][0]["user"]
    assert ours.namespace == theirs["contexts"][0]["context"].get("namespace")


async def test_first_definition_and_first_current_context_are_used(tmp_path: Path) -> None:
    kubeconfig = await read(write_two_files(tmp_path))
    assert (kubeconfig.context, kubeconfig.namespace) == ("first", None)
    assert kubeconfig.cluster.fields == {"server": "https://a.example", "certificate-authority": "ca.crt"}
    assert kubeconfig.user.fields == {"username": "a"}


async def test_current_context_may_be_in_a_later_file(tmp_path: Path) -> None:
    users = write_kubeconfig(tmp_path / "users", users={"u": {"token": "t"}})
    empty = tmp_path / "empty"
    empty.touch()
    cluster = write_kubeconfig(
        tmp_path / "cluster",
        "c",
        clusters={"c": {"server": "http://s"}},
        contexts={"c": {"cluster": "c", "user": "u"}},
    )
    kubeconfig = await read(os.pathsep.join([str(empty), users, cluster]))
    assert kubeconfig.user.fields == {"token": "t"}


async def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    kubeconfig = await read(write_two_files(tmp_path), "across")
    for name in ("a", "b"):
        (tmp_path / name / "token").write_text(f"of-{name}", encoding="utf-8")
        (tmp_path / name / "b.crt").write_text(f"crt-{name}", encoding="utf-8")
    reader = KubeconfigReader(NAMED_BY_POLICY, Limits(), Timings())
    assert await reader.value(kubeconfig.cluster, "certificate-authority") == "crt-b"
    assert await reader.named_file(kubeconfig.user, "tokenFile", "token") == "of-b"


async def test_plugin_of_a_later_file_is_found_beside_that_file(tmp_path: Path) -> None:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "from-plugin"}}
    user = {
        "exec": {"apiVersion": credential["apiVersion"], "command": "./plugin", "interactiveMode": "Never"}
    }
    first = write_kubeconfig(tmp_path / "a" / "one", "c", contexts={"c": {"cluster": "c", "user": "u"}})
    second = write_kubeconfig(
        tmp_path / "b" / "two", clusters={"c": {"server": "http://127.0.0.1:1"}}, users={"u": user}
    )
    plugin = tmp_path / "b" / "plugin"
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n", encoding="utf-8")
    plugin.chmod(0o755)
    credentials = Credentials(f"{first}:{second}", NAMED_BY_POLICY)
    await credentials.load()
    assert await credentials.headers() == [("Authorization", "Bearer from-plugin")]
    refused = await _load_error(f"{first}:{second}", KubeconfigRules(trusted=True))
    assert refused.reason == POLICY_REFUSED
    assert second in refused.message
    assert first not in refused.message


async def _load_error(paths: str, rules: KubeconfigRules) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await Credentials(paths, rules).load()
    return caught.value


@pytest.mark.parametrize("content", ["a: [b", "just words", "- a", "x: &a 1\ny: *a"])
async def test_file_with_a_fault_is_named_among_several(content: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text(content, encoding="utf-8")
    paths = write_two_files(tmp_path)
    error = await error_of(f"{paths}:{bad}")
    assert error.reason == UNUSABLE_CREDENTIALS
    assert f"kubeconfig {bad} " in error.message
    assert paths not in error.message


async def test_folder_among_several_files_is_named(tmp_path: Path) -> None:
    assert (
        f"'{tmp_path}' cannot be read" in (await error_of(f"{write_two_files(tmp_path)}:{tmp_path}")).message
    )


async def test_several_files_that_are_all_missing_are_named(tmp_path: Path) -> None:
    paths = f"{tmp_path}/a:{tmp_path}/b"
    assert f"no file of {paths} exists" in (await error_of(paths)).message


async def test_several_files_need_a_policy_that_names_them(tmp_path: Path) -> None:
    """Otherwise a config could name two files, where one sends the token of the other to any server."""
    error = await error_of(write_two_files(tmp_path), rules=KubeconfigRules())
    assert (error.reason, "`kubeconfigs`" in error.message) == (POLICY_REFUSED, True)
    one = write_two_files(tmp_path).split(":")[0]
    assert (await read(f"{one}:", rules=KubeconfigRules())).context == "first"


async def test_every_one_of_several_files_must_be_allowed(tmp_path: Path) -> None:
    rules = KubeconfigRules(trusted=True, may_be_read=lambda path: f"{tmp_path}/a" in path)
    error = await error_of(write_two_files(tmp_path), rules=rules)
    assert error.reason == POLICY_REFUSED
    assert f"{tmp_path}/b/two may not be used" in error.message


async def test_too_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="more than 1 files"):
        await read(write_two_files(tmp_path), kubeconfig_files=1)


async def test_unknown_context_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    message = (await error_of(write_two_files(tmp_path), "absent")).message
    assert "has no context 'absent'" in message
    assert "its contexts are 'first', 'across', 'second'" in message


async def test_no_current_context_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    path = write_kubeconfig(
        tmp_path / "f", clusters={"c": {"server": "http://s"}}, contexts={"x": {"cluster": "c"}}
    )
    message = (await error_of(path)).message
    assert "has no current-context: its contexts are" in message
    assert "'x'" in message
    assert (await read(path, "x")).cluster.fields == {"server": "http://s"}


async def test_list_of_known_contexts_is_shortened_and_has_no_control_characters(tmp_path: Path) -> None:
    contexts = {f"{n}\x1b[31m{'x' * 500}": {"cluster": "c"} for n in range(500)}
    path = write_kubeconfig(tmp_path / "f", "gone", clusters={"c": {"server": "http://s"}}, contexts=contexts)
    message = (await error_of(path, "absent")).message
    assert "and 480 more" in message  # the first 20 are named
    assert "\x1b" not in message
    assert len(message) < 3000  # each name of 500 characters is cut


async def test_forbidden_context_is_refused_even_if_it_is_the_current_one(tmp_path: Path) -> None:
    rules = KubeconfigRules(trusted=True, may_use=lambda name: name == "second")
    for context in (None, "first"):
        error = await error_of(write_two_files(tmp_path), context, rules)
        assert (error.reason, "`kubeContexts`" in error.message) == (POLICY_REFUSED, True)
    assert (await read(write_two_files(tmp_path), "second", rules)).namespace == "b"


async def test_context_defined_twice_in_one_file_is_not_used(tmp_path: Path) -> None:
    contexts = [{"name": "c", "context": {"cluster": "c"}} for _ in range(2)]
    content = {"clusters": [{"name": "c", "cluster": {"server": "http://s"}}], "contexts": contexts}
    path = tmp_path / "f"
    path.write_text(yaml.safe_dump({**content, "current-context": "c"}), encoding="utf-8")
    assert "cannot be used" in (await error_of(str(path))).message


async def test_current_context_is_kept_when_the_kubeconfig_is_read_again(tmp_path: Path) -> None:
    clusters = {"a": {"server": "http://a"}, "b": {"server": "http://b"}}
    contexts = {"a": {"cluster": "a"}, "b": {"cluster": "b"}}
    path = write_kubeconfig(tmp_path / "f", "a", clusters=clusters, contexts=contexts)
    credentials = Credentials(path)
    await credentials.load()
    write_kubeconfig(tmp_path / "f", "b", clusters=clusters, contexts=contexts)
    await credentials.renew(credentials.version)
    assert (credentials.server, credentials.context) == ("http://a", "a")


async def test_relative_paths_start_at_the_link_to_a_kubeconfig_only_if_rules_allow_it(
    tmp_path: Path,
) -> None:
    """Kubectl always uses the folder of the link. We use the target's if the rules forbid the link's."""
    target = write_kubeconfig(
        tmp_path / "real" / "kubeconfig",
        "c",
        clusters={"c": {"server": "https://s", "certificate-authority": "ca.crt"}},
        contexts={"c": {"cluster": "c"}},
    )
    link = tmp_path / "linked" / "kubeconfig"
    link.parent.mkdir()
    link.symlink_to(target)
    for folder in ("real", "linked"):
        (tmp_path / folder / "ca.crt").write_text(folder, encoding="utf-8")
    strict = KubeconfigRules(may_be_read=lambda path: path.startswith(f"{tmp_path}/real"))
    for rules, folder in ((NAMED_BY_POLICY, "linked"), (strict, "real")):
        reader = KubeconfigReader(rules, Limits(), Timings())
        kubeconfig = await reader.read(str(link))
        assert await reader.value(kubeconfig.cluster, "certificate-authority") == folder


async def test_relative_paths_do_not_start_in_a_forbidden_folder_behind_a_link(tmp_path: Path) -> None:
    """The folder is allowed by its name, but it is a link to a folder where agents can write."""
    target = write_kubeconfig(
        tmp_path / "real" / "kubeconfig",
        "c",
        clusters={"c": {"server": "https://s", "certificate-authority": "ca.crt"}},
        contexts={"c": {"cluster": "c"}},
    )
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "kubeconfig").symlink_to(target)
    (tmp_path / "alias").symlink_to(volume)
    for folder in ("real", "volume"):
        (tmp_path / folder / "ca.crt").write_text(folder, encoding="utf-8")
    rules = KubeconfigRules(may_be_read=lambda path: not path.startswith(str(volume)))
    reader = KubeconfigReader(rules, Limits(), Timings())
    kubeconfig = await reader.read(str(tmp_path / "alias" / "kubeconfig"))
    assert await reader.value(kubeconfig.cluster, "certificate-authority") == "real"


async def test_rule_about_readable_paths_is_called_outside_of_the_event_loop_thread(tmp_path: Path) -> None:
    """The rule resolves links on the shared volume, which may hang."""
    path = write_kubeconfig(
        tmp_path / "config",
        "c",
        clusters={"c": {"server": "https://s"}},
        contexts={"c": {"cluster": "c"}},
    )
    threads: list[threading.Thread] = []

    def allows(_: str) -> bool:
        threads.append(threading.current_thread())
        return True

    await KubeconfigReader(KubeconfigRules(may_be_read=allows), Limits(), Timings()).read(path)
    assert threads
    assert threading.main_thread() not in threads
