"""`claude-k8s node-shim` writes the npm package, and does not overwrite what it did not write."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import claude_k8s
from tests.support.ui_parser import parsed_by_javascript

from paperclip_claude_k8s import __version__, create_server_adapter
from paperclip_claude_k8s.bridge.package import FolderTaken, write_package
from paperclip_claude_k8s.bridge.wire import PROTOCOL
from paperclip_claude_k8s.claude.ui import parse_stdout_line


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_node_shim_writes_a_package_and_prints_how_to_install_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "shim"
    code, out, err = await claude_k8s("node-shim", "--out", str(folder))
    reply = json.loads(out)
    assert (code, err) == (0, "")
    assert reply["status"] == "written"
    assert reply["install"]["POST /api/adapters/install"] == {
        "packageName": str(folder),
        "isLocalPath": True,
    }
    manifest = read_json(folder / "package.json")
    assert manifest["version"] == __version__
    assert "dependencies" not in manifest
    assert manifest["type"] == "module"
    for file in (manifest["exports"]["."], manifest["exports"]["./ui-parser"], *manifest["files"]):
        assert (folder / file).is_file()
    assert manifest["paperclip"]["adapterUiParser"].split(".")[0] == "1"
    assert read_json(folder / "facts.json")["python"] == sys.executable


async def test_node_shim_replaces_its_earlier_package(tmp_path: Path) -> None:
    write_package(tmp_path / "shim", "python3")
    (tmp_path / "shim" / "index.js").write_text("old", encoding="utf-8")
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    code, _, _ = await claude_k8s("node-shim", "--out", str(tmp_path / "shim"), "--python", str(python))
    assert code == 0
    assert "createServerAdapter" in (tmp_path / "shim" / "index.js").read_text(encoding="utf-8")
    assert read_json(tmp_path / "shim" / "facts.json")["python"] == str(python)


async def test_node_shim_with_a_missing_python_writes_nothing(tmp_path: Path) -> None:
    shim = str(tmp_path / "shim")
    code, _, err = await claude_k8s("node-shim", "--out", shim, "--python", str(tmp_path / "python"))
    assert (code, names_in(tmp_path)) == (2, set())
    assert str(tmp_path / "python") in err


@pytest.mark.parametrize(
    "content",
    [{"package.json": '{"name": "mine"}'}, {"package.json": "["}, {"package.json": "[]"}, {"a.txt": ""}],
)
async def test_node_shim_does_not_overwrite_a_folder_with_other_files(
    tmp_path: Path, content: dict[str, str]
) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    code, out, _ = await claude_k8s("node-shim", "--out", str(tmp_path))
    assert code == 2
    assert "name a new folder" in json.loads(out)["detail"]
    assert names_in(tmp_path) == set(content)


def test_package_is_not_written_where_other_users_can_change_it(tmp_path: Path) -> None:
    """The server loads the package, so they could run programs as the server's user."""
    folder = tmp_path / "shim"
    folder.mkdir()
    for mode in (0o777, 0o1777, 0o702):
        folder.chmod(mode)
        with pytest.raises(FolderTaken, match="other users can write"):
            write_package(folder, "python3")
    folder.chmod(0o755)
    write_package(folder, "python3")


def test_package_is_not_written_to_the_folder_of_another_user(tmp_path: Path) -> None:
    folder = tmp_path / "shim"
    write_package(folder, "python3")
    write_package(folder, "python3", user=0)  # root, who may write it for the server's user
    with pytest.raises(FolderTaken, match="another user"):
        write_package(folder, "python3", user=os.geteuid() + 1)


def test_package_is_not_written_through_a_link(tmp_path: Path) -> None:
    folder, victim = tmp_path / "shim", tmp_path / "victim"
    write_package(folder, "python3")
    victim.write_text("mine", encoding="utf-8")
    (folder / "index.js").unlink()
    (folder / "index.js").symlink_to(victim)
    names = names_in(folder)
    write_package(folder, "python3")
    assert victim.read_text(encoding="utf-8") == "mine"
    assert not (folder / "index.js").is_symlink()
    assert names_in(folder) == names


def test_files_that_only_an_earlier_version_had_are_removed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "shim", tmp_path / "outside.js"
    write_package(folder, "python3")
    names = names_in(folder)
    outside.write_text("", encoding="utf-8")
    for name in ("old.js", "notes.txt"):
        (folder / name).write_text("", encoding="utf-8")
    package = read_json(folder / "package.json")
    package["files"] += ["old.js", "gone.js", "../outside.js", "node_modules", 7]
    (folder / "package.json").write_text(json.dumps(package), encoding="utf-8")
    write_package(folder, "python3")
    assert names_in(folder) == {*names, "notes.txt"}
    assert outside.exists()


async def test_package_is_not_written_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    with pytest.raises(FolderTaken):
        write_package(file, "python3")


async def test_node_shim_without_a_writable_folder_reports_not_written() -> None:
    code, out, err = await claude_k8s("node-shim", "--out", "/proc/none/shim")
    assert code == 1
    assert err.startswith("error: not_written: ")
    assert json.loads(out)["error"] == "not_written"


def test_facts_json_has_the_attributes_of_the_adapter(tmp_path: Path) -> None:
    write_package(tmp_path / "shim", "python3")
    facts, adapter = read_json(tmp_path / "shim" / "facts.json"), create_server_adapter()
    assert facts["protocol"] == PROTOCOL
    assert facts["type"] == adapter.type
    assert facts["members"]["agentConfigurationDoc"] == adapter.agent_configuration_doc
    assert facts["members"]["runtimeToolDelivery"] == adapter.runtime_tool_delivery
    assert facts["members"]["sessionManagement"] == adapter.session_management
    assert facts["configSchema"]["fields"]


def test_ui_parser_of_the_package_equals_parse_stdout_line(tmp_path: Path) -> None:
    write_package(tmp_path / "shim", "python3")
    source = (tmp_path / "shim" / "ui-parser.cjs").read_text(encoding="utf-8")
    line = '{"type":"assistant","message":{"content":[{"type":"text","text":"hi"}]}}'
    (entries,) = parsed_by_javascript([line], source)
    assert entries == parse_stdout_line(line, entries[0]["ts"])
