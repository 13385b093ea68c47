"""`promptDelivery: init`: an init container writes the run's files into an emptyDir (SPEC 3).

The texts stand in the Job, where everybody reads them who may read Jobs: nothing secret goes this way. The
container has the agent's own image, so that there is no second one to pull.
"""

from collections.abc import Iterator, Mapping

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.plan.paths import RUN_DIR

CONTAINER = "write-prompt"
SECRET_DIR = "/var/run/paperclip/secret"  # noqa: S105  # a path, not a password
"""Where the init container finds what comes by the run Secret."""
TARGET = "PAPERCLIP_FILES_DIR"
SOURCE = "PAPERCLIP_FILES_FROM"
_PIECE = "PAPERCLIP_FILE_"
_NAME_CHARS = 40
"""The variable's own name counts as part of the string."""


def unexpanded(text: str) -> str:
    """Text that Kubernetes leaves alone: in commands and env it expands `$(NAME)` and turns `$$` into `$`."""
    return text.replace("$", "$$")


def pieces(text: str, limit: int) -> Iterator[str]:
    """Cut so that each piece, as Kubernetes is given it, has at most `limit` bytes of UTF-8."""
    start = 0
    while start < len(text):
        end = min(start + limit, len(text))
        while (found := len(unexpanded(text[start:end]).encode())) > limit:
            end = start + max((end - start) * limit // found, 1)
        yield text[start:end]
        start = end


def writing_container(files: Mapping[str, str], *, with_secret: bool) -> JsonObject:
    """What the init container adds to an agent-like container: its name, command, env and mounts."""
    script = ["set -eu", "umask 077"]
    env: list[JsonObject] = [{"name": TARGET, "value": RUN_DIR}]
    mounts: list[JsonObject] = [{"name": "run", "mountPath": RUN_DIR}]
    if with_secret:
        script.append(f'cp "${SOURCE}"/* "${TARGET}"/')
        env.append({"name": SOURCE, "value": SECRET_DIR})
        mounts.append({"name": "run-secret", "mountPath": SECRET_DIR, "readOnly": True})
    for at, (file, text) in enumerate(sorted(files.items())):
        script.append(f': >"${TARGET}/{file}"')
        for number, piece in enumerate(pieces(_plain(text), Limits().env_string_bytes - _NAME_CHARS)):
            name = f"{_PIECE}{at}_{number}"
            env.append({"name": name, "value": unexpanded(piece)})
            script.append(f'printf %s "${name}" >>"${TARGET}/{file}"')
    command = ["sh", "-c", unexpanded("\n".join(script))]
    return {"name": CONTAINER, "command": command, "env": env, "volumeMounts": mounts}


def _plain(text: str) -> str:
    """No environment string can hold NUL."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
