"""Turns a dataclass of options into the parameters of a typer command."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

import typer

Options = TypeVar("Options")


def takes_options(
    options: type[Options], names: tuple[str, ...] = (), required: tuple[str, ...] = ()
) -> Callable[[Callable[[Options], int]], Callable[..., None]]:
    """A decorator that turns a function, which takes options and returns an exit code, into a typer command.

    `names`: the fields that are options of this command; all if empty. `required`: the options that must be
    given.
    """
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty
            if field.name in required or field.default is MISSING
            else field.default,
            annotation=hints[field.name],
        )
        for field in fields(options)  # type: ignore[arg-type]  # a dataclass
        # only fields whose type is `Annotated` are options
        if (field.name in names or not names) and hasattr(hints[field.name], "__metadata__")
    ]

    def decorate(work: Callable[[Options], int]) -> Callable[..., None]:
        def command(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401  # values of any option
            if "kubeconfig" in hints:
                given["kubeconfig_from_option"] = _is_typed(ctx, "kubeconfig")
            raise typer.Exit(work(options(**given)))

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        command.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
        command.__name__, command.__doc__ = work.__name__, work.__doc__
        return command

    return decorate


def _is_typed(ctx: typer.Context, name: str) -> bool:
    """Whether the option was typed on the command line, not taken from a variable or a default."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
