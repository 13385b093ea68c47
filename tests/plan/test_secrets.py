"""Credentials among the agent's arguments stand in the run Secret, and reach the agent as they are."""

import json
from typing import Any

import pytest
from tests.support.plans import a_plan, the_job, the_secret

from paperclip_claude_k8s.plan.secrets import command_with_references, secret_arguments

ARGS = ["--api-key", "c4n4ry-1", "--header=Bearer c4n4ry-token-2", "--plain", "$(HOME) $$"]


def command(**wishes: Any) -> list[str]:
    (container,) = the_job(**wishes)["spec"]["template"]["spec"]["containers"]
    return list(container["command"])


def test_a_credential_is_referred_to_and_the_rest_stays_as_it_is() -> None:
    job, secret = the_job(extraArgs=ARGS), the_secret(extraArgs=ARGS)["stringData"]
    assert "c4n4ry" not in json.dumps(job)
    *_, key, value, header, plain, odd = command(extraArgs=ARGS)
    assert (key, plain, odd) == ("--api-key", "--plain", "$$(HOME) $$$$")
    assert secret[f"env.{value[2:-1]}"] == "c4n4ry-1"
    assert secret[f"env.{header[2:-1]}"] == "--header=Bearer c4n4ry-token-2"
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {value[2:-1], header[2:-1]} <= {entry["name"] for entry in env if "valueFrom" in entry}


def test_what_another_place_keeps_secret_is_secret_here_too() -> None:
    wishes: dict[str, Any] = {
        "env": {"MY_TOKEN": "c4n4ry-elsewhere"},
        "extraArgs": ["--x", "c4n4ry-elsewhere"],
    }
    assert "c4n4ry" not in json.dumps(the_job(**wishes))


@pytest.mark.parametrize("argv", [[], ["claude"], ["claude", "--model", "opus", "--max-turns", "3", ""]])
def test_a_command_without_credentials_hides_nothing(argv: list[str]) -> None:
    assert secret_arguments(argv, {"c4n4ry-0123"}) == {}
    assert command_with_references(argv, {}) == argv


def test_no_argument_shows_in_the_repr_of_a_plan() -> None:
    assert "c4n4ry" not in repr(a_plan(extraArgs=ARGS))
