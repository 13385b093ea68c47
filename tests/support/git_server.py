"""A git server over HTTP: git's own `http-backend` behind a small server of Python, with or without a password."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

GIT_ENV = {
    **{name: os.environ[name] for name in ("PATH",) if name in os.environ},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.org",
}


def git(*arguments: str, cwd: Path | None = None) -> str:
    """What the command prints, trimmed."""
    return subprocess.run(
        ["git", *arguments], cwd=cwd, env=GIT_ENV, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass(slots=True)
class GitServer:
    """Serves the bare repositories in `folder`."""

    folder: Path
    address: str = ""
    """`http://HOST:PORT`."""
    password: str = ""
    """If not empty, all requests need it, with any user name."""
    requests: list[str] = field(default_factory=list)

    def new_repository(self, name: str, files: dict[str, str]) -> str:
        """Create a repository with one commit on the branch `main`. Returns its URL."""
        bare, work = self.folder / f"{name}.git", self.folder / f"{name}.work"
        git("init", "-q", "--bare", "-b", "main", str(bare))
        git("config", "http.receivepack", "true", cwd=bare)
        git("init", "-q", "-b", "main", str(work))
        self.commit(name, files)
        return f"{self.address}/{name}.git"

    def commit(self, name: str, files: dict[str, str], branch: str = "main") -> str:
        """Add files in a new commit of a branch, which is created if need be. Returns the commit's id."""
        work = self.folder / f"{name}.work"
        if branch != git("symbolic-ref", "--short", "HEAD", cwd=work):
            git("checkout", "-q", "-B", branch, cwd=work)
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        git("add", "-A", cwd=work)
        git("commit", "-q", "-m", "change", cwd=work)
        git("push", "-q", str(self.folder / f"{name}.git"), f"HEAD:refs/heads/{branch}", cwd=work)
        return git("rev-parse", "HEAD", cwd=work)

    def read(self, name: str, branch: str, path: str) -> str:
        """A file of a branch."""
        return git("show", f"refs/heads/{branch}:{path}", cwd=self.folder / f"{name}.git")

    def branches(self, name: str) -> dict[str, str]:
        """Branch → id of its commit."""
        lines = git(
            "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads", cwd=self.folder / f"{name}.git"
        )
        return dict(line.split() for line in lines.splitlines())


@contextmanager
def git_server(folder: Path, host: str = "127.0.0.1") -> Iterator[GitServer]:
    """A running server, on a free port of `host`."""
    served = GitServer(folder)
    server = ThreadingHTTPServer((host, 0), _handler(served))
    server.daemon_threads = True
    served.address = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(served: GitServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self._body())

        def _answer(self, body: bytes) -> None:
            served.requests.append(f"{self.command} {self.path}")
            if served.password and not self._is_authorized():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            env = {
                **GIT_ENV,
                "GIT_PROJECT_ROOT": str(served.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": "t",
                "REMOTE_ADDR": "127.0.0.1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            }
            done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            lines = [line.partition(": ") for line in head.decode().splitlines()]
            status = next((value for name, _, value in lines if name == "Status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for name, _, value in lines:
                if name and name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _is_authorized(self) -> bool:
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            return base64.b64decode(given).decode().partition(":")[2] == served.password

        def log_message(self, *_: object) -> None:
            """No lines on stderr."""

    return Handler
