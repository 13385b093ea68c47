"""The prompt of a run from an option, a file or stdin; and inputs that are refused."""

from pathlib import Path

import pytest
from tests.support.cli_commands import CommandRunner, claude_k8s

from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.options import OptionsInvalid
from paperclip_claude_k8s.cli.prompts import with_prompt


def test_prompt_file_is_read_as_utf_8_without_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "prompt.md"
    file.write_bytes(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe.\n")
    assert with_prompt(RunOptions(prompt_file=file)).prompt == "Grüße.\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\x89PNG\r\n", "byte 0x89 at offset 0 is not UTF-8"), (b"a\0b", "NUL character at offset 1")],
)
def test_binary_prompt_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(content)
    with pytest.raises(OptionsInvalid, match=message):
        with_prompt(RunOptions(prompt_file=file))


def test_prompt_together_with_a_prompt_file_is_refused() -> None:
    with pytest.raises(OptionsInvalid, match="leave one of them out"):
        with_prompt(RunOptions(prompt="x", prompt_file=Path("y")))


def test_prompt_of_an_at_sign_and_a_file_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_text("x")
    with pytest.raises(OptionsInvalid, match=f"--prompt-file {file}"):
        with_prompt(RunOptions(prompt=f"@{file}"))
    assert with_prompt(RunOptions(prompt=f"@{file} says")).prompt == f"@{file} says"


@pytest.mark.parametrize("args", [("-p", "-"), ("--prompt-file", "-"), ()])
async def test_piped_stdin_is_read_as_the_prompt(args: tuple[str, ...], tmp_path: Path) -> None:
    # the error shows that stdin was read, and no run is started
    pipe_of_nuls = ("/bin/sh", "-c", 'head -c 20 /dev/zero | "$@"', "sh")
    env = CommandRunner(tmp_path).environment()
    code, out, err = await claude_k8s("run", *args, env=env, prefix=pipe_of_nuls)
    assert code == 1
    assert "is no text: it has a NUL character at offset 0" in out
    assert err.count("\n") == 1
