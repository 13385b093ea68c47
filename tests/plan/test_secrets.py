"""Credentials in the agent's arguments: they are in the run Secret, and the Job refers to them."""

import json
from typing import Any

import pytest
from tests.support.plans import a_plan, the_job, the_secret

from paperclip_claude_k8s.plan.secrets import command_with_references, secret_arguments

ARGS_WITH_CREDENTIALS = ["--api-key", "c4n4ry-1", "--header=Bearer c4n4ry-token-2", "--plain", "$(HOME) $$"]


def command(**options: Any) -> list[str]:
    (container,) = the_job(**options)["spec"]["template"]["spec"]["containers"]
    return list(container["command"])


def referenced(argument: str) -> str:
    """The variable to which the argument `$(NAME)` refers."""
    return argument.removeprefix("$(").removesuffix(")")


def test_credentials_in_arguments_become_references() -> None:
    job, secret = (
        the_job(extraArgs=ARGS_WITH_CREDENTIALS),
        the_secret(extraArgs=ARGS_WITH_CREDENTIALS)["stringData"],
    )
    assert "c4n4ry" not in json.dumps(job)
    *_, key, value, header, plain, dollars = command(extraArgs=ARGS_WITH_CREDENTIALS)
    assert (key, plain, dollars) == ("--api-key", "--plain", "$$(HOME) $$$$")
    assert secret[f"env.{referenced(value)}"] == "c4n4ry-1"
    assert secret[f"env.{referenced(header)}"] == "--header=Bearer c4n4ry-token-2"
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {referenced(value), referenced(header)} <= {entry["name"] for entry in env if "valueFrom" in entry}


def test_argument_that_contains_a_secret_variable_is_hidden() -> None:
    options: dict[str, Any] = {
        "env": {"MY_TOKEN": "c4n4ry-elsewhere"},
        "extraArgs": ["--x", "c4n4ry-elsewhere"],
    }
    assert "c4n4ry" not in json.dumps(the_job(**options))


@pytest.mark.parametrize("argv", [[], ["claude"], ["claude", "--model", "opus", "--max-turns", "3", ""]])
def test_command_without_credentials_is_unchanged(argv: list[str]) -> None:
    assert secret_arguments(argv, {"c4n4ry-0123"}) == {}
    assert command_with_references(argv, {}) == argv


def test_repr_of_plan_hides_arguments() -> None:
    assert "c4n4ry" not in repr(a_plan(extraArgs=ARGS_WITH_CREDENTIALS))
