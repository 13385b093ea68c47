"""`claude-k8s explain` explains every word in the tables from which the documentation is generated."""

import json
import re
from pathlib import Path

import pytest

import paperclip_claude_k8s
from paperclip_claude_k8s.cli.explain_command import explain
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.runs.replies import Error
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.error_codes import ErrorCode
from paperclip_claude_k8s.host.fields import SETTINGS
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS

CHECKS = Path(paperclip_claude_k8s.__file__).parent / "checks"
CHECK_CODES = sorted(
    {code for file in CHECKS.glob("*.py") for code in re.findall(r'code="(\w+)"', file.read_text("utf-8"))}
)
LABELS = sorted(
    value for name, value in vars(labels).items() if name.endswith(("_LABEL", "_ANNOTATION")) and "/" in value
)
WORDS = {
    "error code": [str(code) for code in ErrorCode],
    "error of a command": list(Error.__args__),  # type: ignore[attr-defined]
    "setting": [setting.key for setting in SETTINGS] + ["timeout_sec"],
    "policy": [field.key for field in POLICY_FIELDS],
    "check": CHECK_CODES,
    "label": LABELS,
    "phase": ["reserved", "submitting", "polling", "schedule", "pull", "start", "complete"],
    "glossary": ["run Secret", "guard", "slot", "Home Pod"],
    "variable": ["CLAUDE_K8S_STATE_DIR", "CLAUDE_K8S_PROGRESS"],
}


@pytest.mark.parametrize("kind", WORDS)
def test_every_word_is_explained(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = [word for word in WORDS[kind] if explain(word, Format.JSON) != 0]
    assert unknown == []
    assert capsys.readouterr().out


def test_explanation_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("k8s_pod_schedule_failed", Format.TEXT) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("k8s_pod_schedule_failed: error code")
    assert "  What to do: " in shown
    assert "errors.md" in shown
    assert all(len(line) <= 100 or "/" in line for line in shown.splitlines()), "only paths are not wrapped"


def test_unknown_word_names_similar_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("imagePullTimeoutSecs", Format.JSON) == 1
    assert "did you mean imagePullTimeoutSec" in json.loads(capsys.readouterr().out)["detail"]
