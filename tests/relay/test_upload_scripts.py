"""The scripts that unpack an uploaded folder and print its changes, with the shells of usual images."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.packed_changes import ANYWHERE, tree, write_tree
from tests.support.programs import program
from tests.support.relay_shells import SHELLS

from paperclip_claude_k8s.base.work_limit import WorkLimit
from paperclip_claude_k8s.relay import upload_scripts
from paperclip_claude_k8s.relay.upload_scripts import PrintedChanges
from paperclip_claude_k8s.volume.change_applying import Applied, apply_changes
from paperclip_claude_k8s.volume.ignore_files import rules_for
from paperclip_claude_k8s.volume.upload_packing import PackedFolder, UploadInputs, pack_folder

LIMIT = 1024 * 1024


@dataclass(slots=True)
class UploadPod:
    """The volumes of one Pod, and the host's folder."""

    top: Path
    shell: str
    excludes: tuple[str, ...] = ()
    with_ignored: bool = False
    """Whether files that `.gitignore` excludes are uploaded and brought back, too."""
    log: bytes = b""
    """What the container that prints the changes has printed."""
    only_bin: bool = False
    """Whether the scripts find programs only in the folder `bin`, which is always so for busybox."""

    def __post_init__(self) -> None:
        for name in ("host", "parts", "workspace", "sync", "scratch", "bin"):
            (self.top / name).mkdir()
        if self.shell == "busybox":
            busybox = program("busybox")
            applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
            for applet in applets.stdout.split():
                (self.top / "bin" / applet).symlink_to(busybox)

    @property
    def host(self) -> Path:
        return self.top / "host"

    @property
    def project(self) -> Path:
        return self.top / "workspace" / "project"

    def pack(self) -> PackedFolder:
        ignore = rules_for(self.excludes, with_ignored=self.with_ignored)
        return pack_folder(UploadInputs(str(self.host), "project", LIMIT, ignore, ANYWHERE, WorkLimit(60)))

    def unpack(self, *, sha256: str = "") -> tuple[int, str]:
        """Pack, and run the init container. Returns exit code and termination message."""
        packed = self.pack()
        for number in range(packed.parts):
            (self.top / "parts" / f"{number:03d}").write_bytes(packed.part(number))
        packed.file.close()
        found = self._run(
            upload_scripts.UNPACK_CONTAINER, PARTS=str(self.top / "parts"), SHA256=sha256 or packed.sha256
        )
        message = self.top / "message"
        return found.returncode, message.read_text() if message.exists() else ""

    def bring_back(self, limit: int = LIMIT, **variables: str) -> Applied:
        """Run the container that prints the changes after the agent's end, and apply what it prints."""
        (self.top / "scratch" / "ended").touch()
        self.log = self._run(
            upload_scripts.RETURN_CONTAINER,
            LIMIT=str(limit),
            IGNORE="" if self.with_ignored else "1",
            EXCLUDES="\n".join(self.excludes),
            ENDED=str(self.top / "scratch" / "ended"),
            **{"KEEP_SEC": "0", "ENTRIES": "1000", **variables},
        ).stdout
        return self.apply(b"".join(b"time " + line for line in self.log.splitlines(keepends=True)))

    def apply(self, log: bytes) -> Applied:
        with tempfile.TemporaryFile() as file:
            printed = PrintedChanges(file, LIMIT)
            printed.feed(log)
            assert (printed.is_complete, printed.failure) == (True, ""), log
            file.seek(0)
            rules = rules_for(self.excludes, with_ignored=self.with_ignored)
            return apply_changes(str(self.host), ANYWHERE, file, LIMIT, rules, WorkLimit(60))

    def _run(self, container: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        named = {
            "DIR": str(self.project),
            "SYNC": str(self.top / "sync"),
            "MESSAGE": str(self.top / "message"),
        }
        env = {f"{upload_scripts.PREFIX}{key}": value for key, value in {**named, **variables}.items()}
        only_bin = self.only_bin or self.shell == "busybox"
        path = f"{self.top}/bin" if only_bin else os.environ["PATH"]
        shell = program(self.shell)
        argv = [shell, "sh"] if self.shell == "busybox" else [shell]
        _, *rest = upload_scripts.command(container)
        return subprocess.run(
            [*argv, *rest], env={"PATH": path, **env}, capture_output=True, check=False, timeout=60
        )


@pytest.fixture(params=SHELLS)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> UploadPod:
    return UploadPod(tmp_path, request.param)


def test_folder_arrives_unchanged_and_unchanged_files_do_not_come_back(pod: UploadPod) -> None:
    long = "/".join(["long" * 20] * 5)
    files = {
        "a": "1",
        "b c/ d": "2",
        "ü/é": "3",
        "-x": "4",
        "$(id)": "5",
        "a'b\"": "6",
        f"{long}/f": "7",
        "empty": "",
    }
    write_tree(pod.host, files)
    (pod.host / "a").chmod(0o755)
    (pod.host / "link").symlink_to("b c/ d")
    assert pod.unpack() == (0, "")
    assert tree(pod.project) == tree(pod.host)
    assert os.access(pod.project / "a", os.X_OK)
    done = pod.bring_back()
    assert (done.written, done.deleted, done.kept_beside, sum(done.left.values())) == (0, 0, [], 0)


def test_changes_come_back(pod: UploadPod) -> None:
    write_tree(pod.host, {"a": "1", "b": "2", "d/c": "3", "same": "4", "-x y": "5", "x": "6"})
    assert pod.unpack()[0] == 0
    write_tree(pod.project, {"a": "new", "ü/ä b": "new", "-x y": "new", "z\n": "odd", "q\\": "odd"})
    (pod.project / "big").write_bytes(os.urandom(20_000))
    (pod.project / "x").chmod(0o755)
    (pod.project / "b").unlink()
    (pod.project / "d/c").unlink()
    (pod.project / "d").rmdir()
    done = pod.bring_back()
    expected = {"a": "new", "ü/ä b": "new", "-x y": "new", "same": "4", "x": "6"}
    found = tree(pod.host)
    assert found.pop("big") == tree(pod.project)["big"]
    assert found == expected
    assert os.access(pod.host / "x", os.X_OK)
    assert (done.written, done.deleted) == (5, 2)
    assert done.left["odd"] >= 1


def test_links_special_files_and_git_data_do_not_come_back(pod: UploadPod) -> None:
    write_tree(pod.host, {"a": "1", "d/b": "2", ".git/HEAD": "x"})
    assert pod.unpack()[0] == 0
    assert tree(pod.project)[".git/HEAD"] == "x"
    write_tree(pod.project, {".git/hooks/pre-commit": "evil", "sub/.git": "gitdir: x", ".git/HEAD": "evil"})
    (pod.project / "a").unlink()
    (pod.project / "a").symlink_to("/etc/passwd")
    (pod.project / "out").symlink_to("/etc")
    os.mkfifo(pod.project / "pipe")
    for name in (".git/hooks/pre-commit", ".git/HEAD"):
        # newer than the upload also for busybox, which compares whole seconds
        os.utime(pod.project / name, (2e9, 2e9))
    before = tree(pod.host)
    done = pod.bring_back()
    assert tree(pod.host) == before
    assert (done.left["links"], done.left["special"], done.left["git"]) == (2, 1, 2)


def test_files_above_the_limit_do_not_come_back_and_are_counted(pod: UploadPod) -> None:
    write_tree(pod.host, {"old": "1"})
    assert pod.unpack()[0] == 0
    write_tree(pod.project, {"big": "x" * 3000, "a": "x" * 600, "b": "x" * 600, "old": "2"})
    done = pod.bring_back(limit=1000)
    assert len(tree(pod.host)) == 2  # `old`, and either `a` or `b`
    assert (tree(pod.host)["old"], done.left["large"]) == ("2", 2)


def test_files_that_were_not_examined_are_counted(pod: UploadPod) -> None:
    write_tree(pod.host, {f"old{number}": "1" for number in range(4)})
    assert pod.unpack()[0] == 0
    write_tree(pod.project, {f"new{number}": "1" for number in range(7)})
    done = pod.bring_back(ENTRIES="3")
    assert (done.written, done.left["unread"] + done.left["large"]) == (2, 5)


def test_file_that_is_too_large_when_packed_does_not_come_back_and_is_counted(pod: UploadPod) -> None:
    write_tree(pod.host, {"old": "1"})
    assert pod.unpack()[0] == 0
    (pod.project / "big").write_bytes(os.urandom(30_000))
    write_tree(pod.project, {"old": "2", "new": "3"})
    done = pod.bring_back(PACKED="20000")
    assert (tree(pod.host), done.left["large"]) == ({"old": "2", "new": "3"}, 1)


def test_ignored_files_are_neither_uploaded_nor_brought_back(pod: UploadPod) -> None:
    write_tree(
        pod.host, {".gitignore": "build/\n*.o\n", "build/x": "1", "a.o": "1", "a.c": "1", "private": "1"}
    )
    pod.excludes = ("/private",)
    assert pod.unpack()[0] == 0
    assert set(tree(pod.project)) == {".gitignore", "a.c"}
    write_tree(pod.project, {"build/x": "2", "a.o": "2", "b.o": "2", "private": "2", "b.c": "2"})
    done = pod.bring_back()
    assert done.written == 1
    assert {tree(pod.host)[name] for name in ("build/x", "a.o", "private")} == {"1"}
    assert done.left["ignored"] == 4


def test_parts_that_were_changed_are_not_unpacked(pod: UploadPod) -> None:
    write_tree(pod.host, {"a": "1"})
    code, message = pod.unpack(sha256="0" * 64)
    assert (code, message) == (75, "the uploaded parts are not what the Paperclip host has sent\n")
    assert not pod.project.exists()


def test_changes_are_read_from_the_next_copy_if_the_first_lacks_its_beginning(tmp_path: Path) -> None:
    pod = UploadPod(tmp_path, "dash")
    write_tree(pod.host, {"a": "1"})
    pod.unpack()
    write_tree(pod.project, {"a": "2"})
    pod.bring_back()
    lines = [b"time " + line for line in pod.log.splitlines(keepends=True)]
    with tempfile.TemporaryFile() as file:
        printed = PrintedChanges(file, LIMIT)
        printed.feed(b"".join(lines[1:]))  # the beginning was lost when the log was rotated
        assert not printed.is_complete
        printed.feed(b"".join(lines))
        assert printed.is_complete


@pytest.mark.parametrize("tool", ["base64", "awk"])
def test_missing_program_is_named(tmp_path: Path, tool: str) -> None:
    pod = UploadPod(tmp_path, "busybox")
    write_tree(pod.host, {"a": "1"})
    pod.unpack()
    pod.shell = "dash"  # the shell of busybox runs its own programs regardless of PATH
    pod.only_bin = True
    (pod.top / "bin" / tool).unlink()
    with pytest.raises(AssertionError, match=f"the image has no {tool}"):
        pod.bring_back()
