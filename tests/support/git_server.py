"""A git server over HTTP, with or without a password: a Python HTTP server that runs `git http-backend`."""

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
    **({"PATH": os.environ["PATH"]} if "PATH" in os.environ else {}),
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.org",
}


def git(*arguments: str, cwd: Path | None = None) -> str:
    """Run git; return what it prints, without white space at both ends."""
    return subprocess.run(
        ["git", *arguments], cwd=cwd, env=GIT_ENV, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass(slots=True)
class GitServer:
    """Serves the bare repositories in `folder`."""

    folder: Path
    address: str
    """`http://HOST:PORT`."""
    password: str = ""
    """If not empty, all requests need it, with any user name."""
    push_delay: float = 0.0
    """Seconds for which the server waits before it handles a push."""
    requests: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    """USER:PASSWORD of all requests that had them."""

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

    def add_submodule(self, name: str, path: str, url: str) -> None:
        """Add a submodule at `path` with this URL to the repository `name`.

        Its commit is the newest one of this server's repository `path`, or if there is none, that of `name`.
        """
        work = self.folder / f"{name}.work"
        submodule = self.folder / f"{path}.git"
        tip = git("rev-parse", "main", cwd=submodule) if submodule.exists() else self.branches(name)["main"]
        git("update-index", "--add", "--cacheinfo", f"160000,{tip},{path}", cwd=work)
        (work / ".gitmodules").write_text(f'[submodule "{path}"]\n path = {path}\n url = {url}\n')
        git("add", ".gitmodules", cwd=work)
        git("commit", "-q", "-m", "submodule", cwd=work)
        git("push", "-q", str(self.folder / f"{name}.git"), "HEAD:main", cwd=work)

    def read(self, name: str, branch: str, path: str) -> str:
        """The text of a file on a branch."""
        return git("show", f"refs/heads/{branch}:{path}", cwd=self.folder / f"{name}.git")

    def branches(self, name: str) -> dict[str, str]:
        """Branch → id of its commit."""
        lines = git(
            "for-each-ref",
            "--format=%(refname:short) %(objectname)",
            "refs/heads",
            cwd=self.folder / f"{name}.git",
        )
        return dict(line.split() for line in lines.splitlines())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    served: GitServer


@contextmanager
def git_server(folder: Path, host: str = "127.0.0.1") -> Iterator[GitServer]:
    """A running server, on a free port of `host`."""
    server = _Server((host, 0), _Handler)
    server.served = GitServer(folder, f"http://{host}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _answer(self, body: bytes) -> None:
        served = self.server.served
        served.requests.append(f"{self.command} {self.path}")
        if "Authorization" in self.headers:
            served.logins.append(self._login())
        if self.command == "POST" and self.path.endswith("/git-receive-pack"):
            threading.Event().wait(served.push_delay)
        if served.password and not self._is_authorized(served.password):
            self._send(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
            return
        env = self._cgi_variables(served.folder, len(body))
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().splitlines()]
        headers = [(name, value) for name, _, value in lines]
        status = dict(headers).get("Status", "200 OK")
        self._send(int(status.split()[0]), [each for each in headers if each[0] != "Status"], content)

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cgi_variables(self, folder: Path, length: int) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            **GIT_ENV,
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "t",
        }

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _is_authorized(self, password: str) -> bool:
        return self._login().rpartition(":")[2] == password

    def _login(self) -> str:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode()

    def log_message(self, *_: object) -> None:
        """No lines on stderr."""
