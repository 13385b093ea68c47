"""Which part of a run's output `logs --tail` prints."""

import pytest

from paperclip_claude_k8s.cli.log_printers import LogPart, RawPrinter


def test_tail_counts_lines_and_not_carriage_returns(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    printer = RawPrinter(LogPart(tail=2))
    printer.print(b"one\n10%\r50%\r100%\nthree\nno newline")
    printer.finish(resumed=None)
    assert capsysbinary.readouterr().out == b"three\nno newline"
    printer = RawPrinter(LogPart(tail=1))
    printer.print(b"one\n10%\r50%\r100%\n")
    printer.print_held()
    assert capsysbinary.readouterr().out == b"10%\r50%\r100%\n"
