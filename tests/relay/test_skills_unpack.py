"""The script that unpacks skills, with the shells of usual images."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from tests.support.programs import program
from tests.support.relay_shells import SHELLS

from paperclip_claude_k8s.plan.bundle import BundleFile, assemble, packed_in_secret, skill_files
from paperclip_claude_k8s.plan.upload_parts import SkillArchive
from paperclip_claude_k8s.relay import upload_scripts

NOISE = random.Random(1).randbytes(1_000_000)  # noqa: S311  # no secret
LONG = f"{'d' * 90}/{'f' * 90}"


def an_archive() -> SkillArchive:
    files = {
        "SKILL.md": BundleFile(b"# Skill"),
        "bin/run it": BundleFile(b"#!/bin/sh\n", executable=True),
        "-n": BundleFile(NOISE),
        LONG: BundleFile(b"long"),
    }
    archive = packed_in_secret(assemble(None, None, skill_files("helper", files))).archive
    assert archive is not None
    return archive


def unpack(top: Path, shell: str, archive: SkillArchive, sha256: str = "") -> tuple[int, str]:
    """Run the script. Returns its exit code and its termination message."""
    for name in ("parts", "skills", "bin"):
        (top / name).mkdir()
    for number in range(archive.parts):
        (top / "parts" / f"{number:03d}").write_bytes(archive.part(number))
    if shell == "busybox":
        for applet in ("cat", "sha256sum", "gzip", "tar", "tr", "head"):
            (top / "bin" / applet).symlink_to(program("busybox"))
    path = str(top / "bin") if shell == "busybox" else os.environ["PATH"]
    variables = {"DIR": top / "skills", "PARTS": top / "parts", "MESSAGE": top / "message"}
    env = {f"{upload_scripts.PREFIX}{name}": str(value) for name, value in variables.items()}
    env |= {"PATH": path, f"{upload_scripts.PREFIX}SHA256": sha256 or archive.sha256}
    argv = [program(shell), "sh"] if shell == "busybox" else [program(shell)]
    _, *rest = upload_scripts.command(upload_scripts.SKILLS_CONTAINER)
    done = subprocess.run([*argv, *rest], env=env, check=False, capture_output=True, timeout=60)
    message = top / "message"
    return done.returncode, message.read_text() if message.exists() else ""


@pytest.mark.parametrize("shell", SHELLS)
def test_skills_arrive_unchanged(tmp_path: Path, shell: str) -> None:
    assert unpack(tmp_path, shell, an_archive()) == (0, "")
    skill = tmp_path / "skills" / ".claude" / "skills" / "helper"
    found = {str(p.relative_to(skill)): p.read_bytes() for p in skill.rglob("*") if p.is_file()}
    assert found == {"SKILL.md": b"# Skill", "bin/run it": b"#!/bin/sh\n", "-n": NOISE, LONG: b"long"}
    assert (skill / "bin/run it").stat().st_mode & 0o777 == 0o755
    assert (skill / "SKILL.md").stat().st_mode & 0o777 == 0o644


def test_changed_archive_is_not_unpacked(tmp_path: Path) -> None:
    code, message = unpack(tmp_path, "dash", an_archive(), sha256="0" * 64)
    assert (code, message) == (75, "the uploaded parts are not what the Paperclip host has sent\n")
    assert list((tmp_path / "skills").iterdir()) == []


def test_archive_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    code, message = unpack(tmp_path, "dash", SkillArchive.of(b"no archive"))
    assert code == 75
    assert message.startswith("the archive of skills cannot be unpacked: ")
