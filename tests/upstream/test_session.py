"""The session codec returns the same values as the session codec of the TypeScript adapter."""

from typing import Any

import pytest

from paperclip_claude_k8s.host.session import SESSION_CODEC

WORK = {"cwd": "/work"}
FULL = {
    "sessionId": "sess_abc",
    "cwd": "/work",
    "workspaceId": "ws1",
    "repoUrl": "https://github.com/a/b",
    "repoRef": "main",
}
WITHOUT_SESSION: tuple[Any, ...] = (None, "string", 123, [], {}, {"workspaceId": "ws1"}, WORK)
CWD_NAMES = ("cwd", "workdir", "folder")


@pytest.mark.parametrize("method", ["deserialize", "serialize"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *((value, None) for value in WITHOUT_SESSION),
        *(({"sessionId": blank}, None) for blank in ("", "   ")),
        ({"sessionId": "sess_abc"}, {"sessionId": "sess_abc"}),
        ({"session_id": "sess_abc"}, {"sessionId": "sess_abc"}),
        ({"sessionId": "sess_a", "session_id": "sess_b"}, {"sessionId": "sess_a"}),
        ({"sessionId": "  sess_abc  "}, {"sessionId": "sess_abc"}),
        *(({"sessionId": "s", name: "/work"}, {"sessionId": "s", **WORK}) for name in CWD_NAMES),
        ({"sessionId": "s", "cwd": "/a", "workdir": "/b", "folder": "/c"}, {"sessionId": "s", "cwd": "/a"}),
        ({"sessionId": "s", "workspace_id": "ws2"}, {"sessionId": "s", "workspaceId": "ws2"}),
        ({"sessionId": "s", "repo_url": "https://a/b"}, {"sessionId": "s", "repoUrl": "https://a/b"}),
        ({"sessionId": "s", "repo_ref": "develop"}, {"sessionId": "s", "repoRef": "develop"}),
        (FULL, FULL),
        ({"sessionId": "s", "promptBundleKey": "b"}, {"sessionId": "s", "promptBundleKey": "b"}),
        ({"sessionId": "s", "prompt_bundle_key": "b"}, {"sessionId": "s", "promptBundleKey": "b"}),
        (
            {"sessionId": "s", "promptBundleKey": "a", "prompt_bundle_key": "b"},
            {"sessionId": "s", "promptBundleKey": "a"},
        ),
        ({"sessionId": "s", "promptBundleKey": ""}, {"sessionId": "s"}),
    ],
)
def test_session_params_are_read_and_stored(method: str, given: Any, expected: Any) -> None:
    assert getattr(SESSION_CODEC, method)(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({"sessionId": "sess_abc"}, "sess_abc"),
        ({"session_id": "sess_abc"}, "sess_abc"),
        ({"sessionId": "sess_a", "session_id": "sess_b"}, "sess_a"),
        (WORK, None),
        ({"sessionId": "  sess_abc  "}, "sess_abc"),
    ],
)
def test_session_is_shown_by_its_id(given: Any, expected: str | None) -> None:
    assert SESSION_CODEC.display_id(given) == expected
