"""`promptDelivery: init`: an init container writes the run's files into an emptyDir.

The texts are environment variables of the init container, cut into pieces that Linux accepts, and its script
joins the pieces again. They are part of the Job, so no private file may go this way: those come from the run
Secret, which is mounted here and copied. The container uses the agent's image, so no second one is pulled.
"""

from collections.abc import Iterator, Mapping

from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.plan.environment import ENV_STRING_BYTES
from paperclip_claude_k8s.plan.paths import RUN_DIR

CONTAINER = "write-prompt"
SECRET_DIR = "/var/run/paperclip/secret"  # noqa: S105  # a path, not a password
"""Where the run Secret is mounted in the init container."""
TARGET = "PAPERCLIP_FILES_DIR"
SOURCE = "PAPERCLIP_FILES_FROM"
_PIECE = "PAPERCLIP_FILE_"
_NAME_CHARS = 40
"""Reserved for the variable's name, which is part of the environment string."""


def escaped(text: str) -> str:
    """The text escaped for commands and env, where Kubernetes expands `$(NAME)` and turns `$$` into `$`."""
    return text.replace("$", "$$")


def pieces(text: str, limit: int) -> Iterator[str]:
    """The text in pieces of which each has at most `limit` bytes of UTF-8 once it is escaped."""
    start = 0
    while start < len(text):
        end = min(start + limit, len(text))
        while (length := len(escaped(text[start:end]).encode())) > limit:
            end = start + max((end - start) * limit // length, 1)
        yield text[start:end]
        start = end


def writing_container(files: Mapping[str, str], *, with_secret: bool) -> JsonObject:
    """Name, command, env and mounts of the init container; `manifest.py` adds the rest."""
    script = ["set -eu", "umask 077"]
    env: list[JsonObject] = [{"name": TARGET, "value": RUN_DIR}]
    mounts: list[JsonObject] = [{"name": "run", "mountPath": RUN_DIR}]
    if with_secret:
        script.append(f'cp "${SOURCE}"/* "${TARGET}"/')
        env.append({"name": SOURCE, "value": SECRET_DIR})
        mounts.append({"name": "run-secret", "mountPath": SECRET_DIR, "readOnly": True})
    for index, (file, text) in enumerate(sorted(files.items())):
        script.append(f': >"${TARGET}/{file}"')
        for number, piece in enumerate(pieces(_encodable(text), ENV_STRING_BYTES - _NAME_CHARS)):
            name = f"{_PIECE}{index}_{number}"
            env.append({"name": name, "value": escaped(piece)})
            script.append(f'printf %s "${name}" >>"${TARGET}/{file}"')
    command = ["sh", "-c", escaped("\n".join(script))]
    return {"name": CONTAINER, "command": command, "env": env, "volumeMounts": mounts}


def _encodable(text: str) -> str:
    """Without NUL, which no environment string can hold; lone surrogates become question marks."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
