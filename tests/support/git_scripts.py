"""Runs the scripts that clone and push a workspace, as their containers do, in folders of the test."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.git_server import GIT_ENV
from tests.support.programs import program

from paperclip_claude_k8s.relay import git

NONCE = "0123abcd"


@dataclass(slots=True)
class GitPod:
    """The volumes of one Pod as folders. `volume`: the session volume; empty: the Pod has none."""

    folder: Path
    url: str
    shell: str = "dash"
    volume: str = ""
    secret: dict[str, str] = field(default_factory=dict)
    programs: str = ""
    """Folder of programs that replace programs of this machine; empty: nothing is replaced."""
    scheme: str = ""
    """Protocol of the URL, if the URL does not name it."""

    def __post_init__(self) -> None:
        for name in ("sync", "workspace", "scratch", "bin", "secret"):
            (self.folder / name).mkdir(parents=True)
        for name, text in self.secret.items():
            (self.folder / "secret" / name).write_text(text)
        if self.shell == "busybox":
            busybox = program("busybox")
            applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
            for applet in applets.stdout.split():
                (self.folder / "bin" / applet).symlink_to(busybox)
            (self.folder / "bin" / "git").symlink_to(program("git"))

    @property
    def clone_folder(self) -> Path:
        return self.folder / "workspace" / "app"

    def clone(self, **variables: str) -> tuple[int, str]:
        """Run the clone script. Returns exit code, and the termination message or, if there is none, stderr.

        `variables`: environment variables of the script, without their prefix.
        """
        return self._run("git_clone.sh", variables)

    def push(self, target: str = "", *, agent_ends: bool = True, **variables: str) -> git.PushReport:
        """Run the push script. `agent_ends`: the agent has ended; False: it never starts."""
        if agent_ends:
            (self.folder / "scratch" / "ended").touch()
        code, message = self._run("git_push.sh", {"PUSH": target, **variables})
        assert code == 0, message
        report = git.read_push_report(message, NONCE)
        assert report is not None, message
        return report

    def agent(self, *commands: str) -> None:
        """Run shell commands in the clone, as the agent would."""
        subprocess.run(
            ["sh", "-ec", "\n".join(commands)],
            cwd=self.clone_folder,
            env=GIT_ENV,
            check=True,
            capture_output=True,
        )

    def _run(self, script: str, variables: dict[str, str]) -> tuple[int, str]:
        message = self.folder / f"{script}.message"
        parts, scheme = urlsplit(self.url), self.scheme or urlsplit(self.url).scheme
        named = {
            "URL": self.url,
            "DIR": str(self.clone_folder),
            "SYNC": str(self.folder / "sync"),
            "SECRET": str(self.folder / "secret") if self.secret else "",
            "SCHEME": scheme,
            "HOST": parts.netloc.rpartition("@")[2],
            "PROTOCOLS": f"{scheme}:https:ssh",
            "NONCE": NONCE,
            "MESSAGE": str(message),
            "ENDED": str(self.folder / "scratch" / "ended"),
            "CACHE": self.volume,
            "CACHE_KEY": "key",
            **variables,
        }
        path = str(self.folder / "bin") if self.shell == "busybox" else os.environ["PATH"]
        path = f"{self.programs}:{path}" if self.programs else path
        env = {
            "PATH": path,
            "TMPDIR": str(self.folder),
            **{f"{git.PREFIX}{key}": value for key, value in named.items()},
        }
        shell = shutil.which("sh", path=path) if self.shell == "busybox" else program(self.shell)
        done = subprocess.run(
            [str(shell), *git.command(script)[1:]],
            env=env,
            cwd=self.folder,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, message.read_text() if message.exists() else done.stderr.decode()
