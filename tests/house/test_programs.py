"""A missing program skips its tests, or fails them where all programs are expected."""

import pytest
from tests.support.programs import EXPECTED, program

MISSING = "no-such-program"


def test_without_its_program_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXPECTED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=MISSING):
        program(MISSING)


def test_where_programs_are_expected_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXPECTED, "yes")
    with pytest.raises(pytest.fail.Exception, match=MISSING):
        program(MISSING)
