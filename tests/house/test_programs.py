"""Tests whose program is missing are skipped, or fail if the environment requires all programs."""

import pytest
from tests.support.programs import EXPECTED, program

MISSING = "no-such-program"


def test_missing_program_skips_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXPECTED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=MISSING):
        program(MISSING)


def test_missing_program_fails_the_test_if_all_programs_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXPECTED, "yes")
    with pytest.raises(pytest.fail.Exception, match=MISSING):
        program(MISSING)
