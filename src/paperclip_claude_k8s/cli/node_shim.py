"""`claude-k8s node-shim`: write the npm package with which a Node host loads the adapter."""

import os
import shutil
from pathlib import Path

from paperclip_claude_k8s.bridge.package import FolderTaken, write_package
from paperclip_claude_k8s.cli.entry import DONE, FAILED, USAGE, print_reply


def node_shim(out: Path, python: str) -> int:
    """Write the package to the folder `out`.

    Exit code 0: written. 1: the folder cannot be written. 2: it has other files, or `python` is no program.
    """
    folder = out.expanduser().absolute()
    if shutil.which(os.path.expanduser(python)) is None:  # noqa: PTH111  # it may be a name on the PATH
        elsewhere = "if the server finds Python elsewhere, set CLAUDE_K8S_PYTHON there"
        detail = f"--python {python} is no program here; {elsewhere}"
        return print_reply({"status": "failed", "error": "usage", "detail": detail}, USAGE)
    try:
        manifest = write_package(folder, python)
    except FolderTaken as taken:
        return print_reply({"status": "failed", "error": "usage", "detail": str(taken)}, USAGE)
    except OSError as error:
        return print_reply({"status": "failed", "error": "not_written", "detail": str(error)}, FAILED)
    install = {"packageName": str(folder), "isLocalPath": True}
    reply = {"status": "written", "name": manifest["name"], "version": manifest["version"], "python": python}
    return print_reply({**reply, "install": {"POST /api/adapters/install": install}}, DONE)
