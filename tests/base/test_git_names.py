"""Which branch names are refused, and for which reason."""

import pytest

from paperclip_claude_k8s.base.git_names import branch_trouble

ALLOWED = ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("main", ALLOWED),
        ("feature/a.b-c", ALLOWED),
        ("HEAD", "git itself uses this name"),
        ("@", "git itself uses this name"),
        ("feature/HEAD", ALLOWED),
        ("", "it must have 1 to 200 characters"),
        ("a..b", "it contains '..'"),
        ("a b", "it contains ' '"),
        ("-a", "it begins or ends with a character that git does not allow there"),
        ("a/", "it begins or ends with a character that git does not allow there"),
        ("a/.b", "a part of it begins with . or ends with .lock"),
        ("a.lock", "a part of it begins with . or ends with .lock"),
    ],
)
def test_reason_for_which_a_name_is_refused(name: str, reason: str) -> None:
    assert branch_trouble(name) == reason
