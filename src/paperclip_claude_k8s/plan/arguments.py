"""Arguments of the agent that hold a credential: the Job refers to them, the run Secret holds them.

Kubernetes puts the value of a variable in the place of `$(NAME)` in a command, secret ones included.
"""

from collections.abc import Collection, Mapping, Sequence

from paperclip_claude_k8s.host.redact import redact_command, shows_secret

_NAME = "PAPERCLIP_ARGUMENT_"


def hidden_arguments(argv: Sequence[str], secrets: Collection[str]) -> Mapping[str, str]:
    """Variable → argument, for each that shows a secret or follows an option that asks for one."""
    masked = redact_command(argv)
    return {
        f"{_NAME}{number}": argument
        for number, (argument, shown) in enumerate(zip(argv, masked, strict=True))
        if argument != shown or shows_secret(argument, secrets)
    }


def referring(argv: Sequence[str], hidden: Mapping[str, str]) -> list[str]:
    """The command as the Job has it: other text stays what it is, whatever Kubernetes makes of a `$`."""
    names = [f"{_NAME}{number}" for number in range(len(argv))]
    return [
        f"$({name})" if name in hidden else argument.replace("$", "$$")
        for name, argument in zip(names, argv, strict=True)
    ]
