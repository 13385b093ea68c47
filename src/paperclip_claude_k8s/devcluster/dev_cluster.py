"""The whole cluster: API server, controllers and kubelet in this process, with all files in one folder."""

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import as_file, files
from pathlib import Path

from paperclip_claude_k8s.devcluster import processes
from paperclip_claude_k8s.devcluster.api import Api
from paperclip_claude_k8s.devcluster.controller import Controller
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.kinds import ACCOUNTS, CLAIMS, NAMESPACES, NODES
from paperclip_claude_k8s.devcluster.kubelet import Kubelet
from paperclip_claude_k8s.devcluster.node import NODE, NODE_LABELS
from paperclip_claude_k8s.devcluster.server import Server
from paperclip_claude_k8s.devcluster.store import Store

NAMESPACE = "paperclip"
CLAIM = "paperclip-data"
TEMPORARY_PREFIX = "claude-k8s-dev-"
IN_USE = "in-use"
"""A file in each temporary folder. The cluster that uses the folder holds a lock on this file."""


class DevCluster:
    """A running development cluster. Its Pods are not isolated: they are processes of this user."""

    def __init__(self, folder: Path, server: Server, store: Store, faults: Faults, token: str) -> None:
        self.folder = folder
        self.namespace = NAMESPACE
        self.faults = faults
        self.token = token
        self.store = store
        self.kubeconfig = folder / "kubeconfig"
        self._server = server

    @property
    def server_url(self) -> str:
        return self._server.url

    @classmethod
    @asynccontextmanager
    async def start(
        cls, claude: Path | None = None, folder: Path | None = None, port: int = 0
    ) -> AsyncIterator["DevCluster"]:
        """Run a cluster for the duration of the block.

        `claude`: path of a real Claude Code CLI; None: a stand-in plays a recorded run. `folder`: where
        volumes, logs and kubeconfig are kept; None: in a temporary folder that is deleted at the end.
        `port`: 0 for a free port.
        """
        with _state_folder(folder) as state:
            async with (
                _watcher(state, is_temporary=folder is None),
                cls._running(state, claude, port) as cluster,
            ):
                yield cluster

    @classmethod
    @asynccontextmanager
    async def _running(cls, folder: Path, claude: Path | None, port: int) -> AsyncIterator["DevCluster"]:
        store, faults, token = Store(), Faults(), secrets.token_urlsafe(24)
        kubelet = Kubelet(store, folder, _create_binaries(folder, claude), faults)
        server = Server(Api(store, kubelet, faults), token)
        seed(store)
        cluster = cls(folder, server, store, faults, token)
        await server.start(port)
        _write_kubeconfig(cluster)
        try:
            async with asyncio.TaskGroup() as group:
                work = [
                    group.create_task(Controller(store, faults, folder / "claims").run(), name="controllers"),
                    group.create_task(kubelet.run(group), name="kubelet"),
                ]
                try:
                    yield cluster
                finally:
                    await server.stop()
                    for task in work:
                        task.cancel()
                    kubelet.shut_down()
        finally:
            cluster.kubeconfig.unlink(missing_ok=True)

    async def go_down(self, seconds: float) -> None:
        """Stop the API server, and start it again on the same port after `seconds`."""
        port = self._server.port
        await self._server.stop()
        await asyncio.sleep(seconds)
        await self._server.start(port)


@contextmanager
def _state_folder(folder: Path | None) -> Iterator[Path]:
    """The cluster's folder, after the Pods of an earlier cluster were removed from it.

    If `folder` is None, this is a temporary folder, which is removed at the end.
    """
    if folder is not None:
        state = folder.resolve()
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        _remove_pods(state)
        yield state
        return
    _remove_abandoned_folders()
    state = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX)).resolve()
    try:
        with (state / IN_USE).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield state
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _remove_abandoned_folders() -> None:
    """Remove the temporary folders of clusters that were killed together with their watchers."""
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):  # the folder is another user's, or in use, or its cluster is just starting
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / IN_USE).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_pods(folder)
                shutil.rmtree(folder, ignore_errors=True)


def _remove_pods(state: Path) -> None:
    processes.kill_marked(state / "pods")
    shutil.rmtree(state / "pods", ignore_errors=True)


@asynccontextmanager
async def _watcher(state: Path, *, is_temporary: bool) -> AsyncIterator[None]:
    """Have another process kill the Pods if this one is killed."""
    program = [sys.executable, "-I", "-S", processes.__file__, str(state)]
    watcher = await asyncio.create_subprocess_exec(
        *program,
        *(["remove"] if is_temporary else []),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert watcher.stdin is not None  # noqa: S101  # it is a pipe
        watcher.stdin.close()
        await watcher.wait()


def _create_binaries(folder: Path, claude: Path | None) -> Path:
    """Create the folder that is the first entry of every Pod's PATH."""
    binaries = folder / "bin"
    shutil.rmtree(binaries, ignore_errors=True)
    binaries.mkdir()
    if claude is not None:
        (binaries / "claude").symlink_to(claude.resolve())
        return binaries
    with as_file(files("paperclip_claude_k8s.devcluster").joinpath("standin")) as standin:
        for name in ("claude", "bundled.ndjson"):
            shutil.copyfile(standin / name, binaries / name)
    (binaries / "claude").chmod(0o755)
    return binaries


def seed(store: Store) -> None:
    """Create the objects that every cluster has: namespace, node, service account, volume claim."""
    add_namespace(store, NAMESPACE)
    store.create(NODES, {"metadata": {"name": NODE, "labels": NODE_LABELS}, "status": {"conditions": []}})
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    store.create(
        CLAIMS,
        {"metadata": {"name": CLAIM, "namespace": NAMESPACE}, "spec": claim, "status": {"phase": "Bound"}},
    )


def add_namespace(store: Store, name: str) -> None:
    """Create a namespace with its service account `default`."""
    store.create(NAMESPACES, {"metadata": {"name": name}, "status": {"phase": "Active"}})
    store.create(ACCOUNTS, {"metadata": {"name": "default", "namespace": name}})


def _write_kubeconfig(cluster: DevCluster) -> None:
    """Write a file that only this user can read: anyone with the token can run commands as this user."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "devcluster",
        "clusters": [{"name": "devcluster", "cluster": {"server": cluster.server_url}}],
        "users": [{"name": "devcluster", "user": {"token": cluster.token}}],
        "contexts": [
            {
                "name": "devcluster",
                "context": {"cluster": "devcluster", "user": "devcluster", "namespace": cluster.namespace},
            }
        ],
    }
    cluster.kubeconfig.unlink(missing_ok=True)
    handle = os.open(cluster.kubeconfig, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(config, file)
