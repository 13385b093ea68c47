"""Paths of the host on the shared volume, translated to paths in the Pod; None: not on the volume."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.plan.paths import POD_HOME, to_pod_path


@pytest.mark.parametrize(
    ("path", "shared_dir", "translated"),
    [
        ("/data/pc/ws/a", "/data/pc", "/paperclip/ws/a"),
        ("/data/pc/ws/a", "/data/pc/", "/paperclip/ws/a"),
        ("/data/pc", "/data/pc", "/paperclip"),
        ("/data/pc/", "/data/pc", "/paperclip"),
        ("//data//pc/./x", "/data/pc", "/paperclip/x"),
        ("/paperclip/x", "/paperclip", "/paperclip/x"),
        ("/x", "/", "/paperclip/x"),
        ("/", "/", "/paperclip"),
        ("/data/pc/../secret", "/data/pc", None),
        ("/data/pc-other/x", "/data/pc", None),
        ("/home/me", "/data/pc", None),
        ("data/pc/x", "/data/pc", None),
        ("/data/pc/x\0y", "/data/pc", None),
        ("", "/data/pc", None),
        ("/data/pc", "", None),
    ],
)
def test_only_paths_on_the_volume_are_translated(path: str, shared_dir: str, translated: str | None) -> None:
    assert to_pod_path(path, shared_dir) == translated


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b c"]), max_size=8))
def test_translated_path_stays_on_the_volume(parts: list[str]) -> None:
    found = to_pod_path("/".join(["/mnt/shared", *parts]), "/mnt/shared")
    assert found is None or (found == POD_HOME or found.startswith(f"{POD_HOME}/"))
    assert found is None or ".." not in found.split("/")
