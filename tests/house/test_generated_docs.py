"""The generated pages of the documentation are up to date."""

import pytest

from paperclip_claude_k8s.docs import FOLDER, GENERATED
from paperclip_claude_k8s.docs.error_reference import read_descriptions
from paperclip_claude_k8s.error_codes import ErrorCode


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_file_is_current(name: str) -> None:
    current = (FOLDER / name).read_text(encoding="utf-8")
    assert current == GENERATED[name](), "run `python -m paperclip_claude_k8s.docs`"


def test_error_reference_describes_every_code_in_order() -> None:
    assert list(read_descriptions()) == list(ErrorCode)
