"""`config init`, `config check`, `prune`, and options that are refused."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.support.cli_commands import CommandRunner

from paperclip_claude_k8s.cli import config_command
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.kubeconfig_choice import check_namespace_and_image
from paperclip_claude_k8s.cli.node_shim import node_shim
from paperclip_claude_k8s.cli.object_names import check_account, check_namespace, check_size
from paperclip_claude_k8s.cli.options import OptionsInvalid, merge_config
from paperclip_claude_k8s.cli.prune_command import remove_old
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Stop, failure
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cli.setup_options import ConfigCheckOptions, ConfigInitOptions
from paperclip_claude_k8s.host.fields import SETTINGS
from paperclip_claude_k8s.ports import utc_now

REQUEST = {"agent": {"id": "ada"}, "config": {}, "context": {}}


def check_reply(
    file: Path, capsys: pytest.CaptureFixture[str], *, strict: bool = False
) -> tuple[int, dict[str, object]]:
    code = config_command.check(ConfigCheckOptions(file, strict=strict, output_format=Format.JSON))
    reply: dict[str, object] = json.loads(capsys.readouterr().out)
    return code, reply


def test_config_init_has_every_setting_and_is_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.yaml"
    assert config_command.init(ConfigInitOptions(file, all=True)) == 0
    lines = file.read_text("utf-8").splitlines()
    assert [
        setting.key for setting in SETTINGS if not any(f"# {setting.key}:" in line for line in lines)
    ] == []
    capsys.readouterr()
    assert check_reply(file, capsys)[0] == 0
    assert config_command.init(ConfigInitOptions(file)) == 1, "an existing file is not overwritten"


def test_config_check_suggests_settings_and_names_wrong_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("modle: x\nimage: y\n")
    unknown = "unknown setting modle (did you mean model?)"
    assert check_reply(file, capsys)[1]["warnings"] == [unknown]
    assert check_reply(file, capsys, strict=True) == (
        1,
        {
            "status": "failed",
            "file": str(file),
            "errors": [unknown],
            "warnings": [],
            "error": "config",
            "detail": unknown,
        },
    )
    file.write_text("timeoutSec: [soon]\n")
    code, reply = check_reply(file, capsys)
    assert code == 1
    assert "config.timeoutSec: expected a number" in str(reply["detail"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("- a\n", "one object"),
        ('{"a": 1,}', "cannot be read"),
        ("a: b: c", "cannot"),
        ("2020-01-01: x", "a key is a date or binary data; write it in quotes"),
        ("env:\n  !!binary aGk=: x", "a key is a date or binary data"),
        ("a: " + "[" * 20_000, "nested too deeply"),
    ],
)
def test_config_file_that_is_not_one_plain_object_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(content)
    with pytest.raises(OptionsInvalid, match=message):
        merge_config(file, {})


def test_endless_config_file_is_refused() -> None:
    with pytest.raises(OptionsInvalid, match="larger than 4 MiB"):
        merge_config(Path("/dev/zero"), {})


@pytest.mark.parametrize(
    "line",
    [
        'PW: "hunter2',
        "PW: hunter2: x",
        "PW: @hunter2",
        "PW: !hunter2 x",
        "PW: !hunter2!a x",
        "PW: %hunter2",
        "PW: {hunter2",
        "PW: &hunter2 &hunter2 x",
        "\tPW: hunter2",
    ],
)
def test_error_in_a_config_file_is_reported_without_values_from_the_file(tmp_path: Path, line: str) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(f"image: x\nenv:\n  {line}\n")
    with pytest.raises(OptionsInvalid) as raised:
        merge_config(file, {})
    assert "hunter2" not in str(raised.value)
    assert "cannot be read: line " in str(raised.value)


def test_config_file_may_be_yaml(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(yaml.safe_dump({"image": "x:1", "env": {"A": "b"}, "timeoutSec": 30}))
    assert merge_config(file, {"image": None}) == {"image": "x:1", "env": {"A": "b"}, "timeoutSec": 30}


class BusyState(State):
    """A state folder in which another command submits each run after its record was listed."""

    def all(self) -> list[Record | Stop]:
        records = super().all()
        for record in records:
            assert isinstance(record, Record)
            self.write(replace(record, phase="polling"))
        return records


def test_prune_keeps_a_run_that_is_submitted_while_prune_runs(tmp_path: Path) -> None:
    old = "2020-01-01T00:00:00.000Z"
    State(tmp_path).write(Record("r1", old, REQUEST, "reserved"))
    file = State(tmp_path).files("r1").record
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "updated": old}))
    assert remove_old(BusyState(tmp_path), utc_now(), dry_run=False)["removed"] == []
    assert file.exists()


def test_prune_removes_ended_and_abandoned_records_only(tmp_path: Path) -> None:
    state, old = State(tmp_path), "2020-01-01T00:00:00.000Z"
    for name, phase in (("waits", "polling"), ("unknown", "submitting"), ("abandoned", "reserved")):
        state.write(Record(name, old, REQUEST, phase))  # type: ignore[arg-type]
    state.write(Record("ended", old, REQUEST).ended(failure("task_failed", "x", "ended"), cleaned_up=True))
    job_left = failure("task_failed", "x", "job-left")
    state.write(Record("job-left", old, REQUEST).ended(job_left, cleaned_up=False))
    for file in tmp_path.glob("runs/*/record.json"):
        record = json.loads(file.read_text("utf-8"))
        file.write_text(json.dumps({**record, "updated": old}))
    with state.files("abandoned").try_lock() as locked:  # like a command that works on the run
        assert locked
        assert remove_old(state, utc_now(), dry_run=False)["removed"] == ["ended"]
    reply = remove_old(state, utc_now(), dry_run=True)
    assert (reply["removed"], reply["kept"]) == (["abandoned"], 3)
    assert sorted(os.listdir(tmp_path / "runs")) == ["abandoned", "job-left", "unknown", "waits"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("namespace", "image", "message"),
    [
        ("Bad_NS", None, "is no namespace"),
        ("other", None, "only the namespace paperclip"),
        (None, "bar", "no effect"),
    ],
)
def test_options_without_effect_on_the_development_cluster_are_refused(
    namespace: str | None, image: str | None, message: str
) -> None:
    with pytest.raises(OptionsInvalid, match=message):
        check_namespace_and_image(namespace, image, devcluster=True)
    check_namespace_and_image("paperclip", None, devcluster=True)


def test_options_with_names_and_sizes_illegal_in_kubernetes_are_refused() -> None:
    for check, bad, good in (
        (check_namespace, "Bad NS", "agents-1"),
        (check_account, "a:b:c", "team:paperclip.x"),
        (check_account, "a:", "paperclip"),
        (check_size, "huge", "10Gi"),
        (check_size, "-1", "1"),
    ):
        check("--option", good)
        with pytest.raises(OptionsInvalid, match="--option"):
            check("--option", bad)


def test_node_shim_refuses_a_python_that_does_not_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert node_shim(tmp_path / "shim", "/nope") == 2
    assert "--python /nope is no program here" in capsys.readouterr().err
    assert not (tmp_path / "shim").exists()


async def test_run_with_strict_is_not_started_if_a_setting_is_unknown(tmp_path: Path) -> None:
    file, cli = tmp_path / "agent.yaml", CommandRunner(tmp_path)
    file.write_text("modle: x\n")
    code, reply, _ = await cli.run("run", "--devcluster", "-p", "x", "--config", str(file), "--strict")
    assert (code, reply["error"]) == (1, "usage")
    assert "modle (did you mean model?)" in reply["detail"]
    assert cli.record() is None
