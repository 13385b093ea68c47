"""The animation of the README shows its first command, and the screens of a terminal become frames."""

from pathlib import Path
from xml.etree import ElementTree as ET

from tests.animation import FOREGROUND, LAST_FRAME, MIN_FRAME, PATH, TYPED, frames, svg

README = Path(__file__).parents[2] / "README.md"
RED = "#ff7b72"


def _parsed(drawn: str) -> ET.Element:
    return ET.fromstring(drawn)  # noqa: S314  # it was written by this project


def test_animation_shows_the_first_command_of_the_readme_and_its_answer() -> None:
    readme, drawn = README.read_text(encoding="utf-8"), PATH.read_text(encoding="utf-8")
    assert TYPED in readme
    assert PATH.name in readme
    texts = ["".join(text.itertext()) for text in _parsed(drawn).findall(".//{*}text")]
    assert f"$ {TYPED}" in texts
    assert "  Second part: alpha and beta." in texts


def test_each_screen_is_a_frame_unless_it_equals_the_one_before() -> None:
    first, *later = frames([(1.0, b"\x1b[31mno\x1b[0m & yes\r\n"), (1.5, b""), (2.0, b"end")])
    assert first.lines[0] == ((f"$ {TYPED}", FOREGROUND, False),)
    assert [(frame.at, frame.lines[1:3]) for frame in later] == [
        (1.0, ((("no", RED, False), (" & yes", FOREGROUND, False)), ())),
        (2.0, ((("no", RED, False), (" & yes", FOREGROUND, False)), (("end", FOREGROUND, False),))),
    ]


def test_of_screens_in_quick_succession_only_the_last_is_a_frame() -> None:
    _, *later = frames([(1.0, b"one"), (1.0 + MIN_FRAME / 2, b"\rtwo"), (2.0, b"\r\nthree")])
    assert [frame.lines[1] for frame in later] == [(("two", FOREGROUND, False),)] * 2


def test_frames_are_shown_one_after_the_other() -> None:
    drawn = svg(frames([(2.0, b"<&>")]))
    root = _parsed(drawn)
    width = int(root.get("width", ""))
    second = f"{100 * 2 / (2 + LAST_FRAME):.3f}%{{transform:translateX(-{width}px)}}"
    assert f"@keyframes play {{ 0.000%{{transform:translateX(-0px)}} {second}" in drawn
    places = [int(use.get("x", "")) // width for use in root.findall(".//{*}use")]
    assert places == [0, 1, 1], "the first frame has one line, the second two"
    assert "<&>" in ["".join(text.itertext()) for text in root.findall(".//{*}text")]
