"""Patterns of `.gitignore` match the same paths as in git, and hostile patterns take little time."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.programs import skip_or_fail

from paperclip_claude_k8s.base.ignore_patterns import is_ignored, matches_name, read_patterns

PATHS = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "ab",
    "abc",
    "a.o",
    "a/x.o",
    "foo/bar/baz",
    "foo/bar",
    "doc/a.txt",
    "doc/x/a.txt",
    "!x",
    "#y",
    "[",
    "a]b",
    "a-b",
    "b/a",
    "c/a/b",
    "a b",
    "x ",
]
LINES = [
    r"a/",
    r"/a",
    r"**/b",
    r"a/**",
    r"a/**/c",
    r"**",
    r"*",
    r"*.o",
    r"!a.o",
    r"foo/*",
    r"!foo/bar",
    r"[a-c]",
    r"[!a]b",
    r"[^a]b",
    r"doc/**/*.txt",
    r"\#y",
    r"\!x",
    r"a?c",
    r"/*",
    r"*/",
    r"!*/",
    r"a*b",
    r"[]]",
    r"a[]]b",
    r"a**b",
    r"/**/b",
]
_char = st.sampled_from(list("abcox./*?!#[]- \\^"))
_line = st.text(_char, max_size=8) | st.sampled_from([*LINES, "x\\ "])


@settings(max_examples=120, deadline=None)
@given(lines=st.lists(_line, max_size=5))
def test_patterns_match_what_git_ignores(lines: list[str]) -> None:
    if shutil.which("git") is None:
        skip_or_fail("git is not installed")
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["git", "init", "-q", name], check=True)
        (Path(name) / ".gitignore").write_text("\n".join(lines))
        answer = subprocess.run(
            ["git", "-C", name, "check-ignore", "--no-index", "-z", "--stdin"],
            input="\0".join(PATHS).encode(),
            capture_output=True,
            check=False,
        )
        by_git = set(answer.stdout.decode().split("\0")) - {""}
    assert {path for path in PATHS if _ignored(path, lines)} == by_git, lines


def _ignored(path: str, lines: list[str]) -> bool:
    top = 0  # depth of the folder whose `.gitignore` has the lines
    rules = [(top, pattern) for pattern in read_patterns("\n".join(lines))]
    parts = path.split("/")
    return any(is_ignored(parts[:end], rules, is_folder=end < len(parts)) for end in range(1, len(parts) + 1))


@pytest.mark.parametrize(
    "pattern", ["a*" * 120 + "b", "*a" * 120 + "b", "[a]*" * 120 + "b", "?*" * 200 + "b"]
)
def test_hostile_pattern_is_matched_in_little_time(pattern: str) -> None:
    began = time.process_time()
    assert not matches_name(pattern, "a" * 255)
    assert not _ignored("/".join(["a" * 50] * 60), ["**/a*/" * 100 + "b"])
    assert time.process_time() - began < 2
