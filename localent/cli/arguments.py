"""Groups of options that reach a command as one argument, and refusal of options without effect."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from localent.cli import config

TYPED = "localent.typed"  # where the group keeps the words of the command line
Function = Callable[..., Any]  # the function behind a command
Decorator = Callable[[Function], Function]


class Group:
    """A decorator that adds options which belong together. The command gets their values as one argument."""

    def __init__(self, name: str, make: Callable[..., object], *options: Decorator) -> None:
        """name: of the argument. make: values by the names of the options -> the argument."""
        self.name, self.make, self.options = name, make, options
        self.fields = list(dict.fromkeys(field for option in options for field in _names(option)))

    def __call__(self, command: Function) -> Function:
        @wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            values = {field: given.pop(field) for field in self.fields}
            return command(*args, **given, **{self.name: self.make(**values)})

        return together(*self.options)(call)


def together(*options: Decorator) -> Decorator:
    """One decorator for options that several commands offer in this order."""

    def add(command: Function) -> Function:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _names(option: Decorator) -> list[str]:
    """The arguments that a command gets for an option, or for a group of them."""
    if isinstance(option, Group):
        return [option.name]
    return [param.name for param in option(lambda: None).__click_params__]  # type: ignore[attr-defined]


def refuse_unused(form: str, *names: str) -> None:
    """Raise a usage error for options on the command line that do nothing in the form of the command asked for.

    form: in words, "A plain text" or "--run". names: the parameters that it does not use.
    """
    context = click.get_current_context()
    given = [p for p in context.command.params if _is_given(context, p)]
    unused = [_spelling(p) for p in given if p.name in names]
    if unused:
        pronoun = "it" if len(unused) == 1 else "them"
        raise click.UsageError(f"{form} does not use {', '.join(unused)}: leave {pronoun} out.")


def _is_given(context: click.Context, param: click.Parameter) -> bool:
    """True for a parameter on the command line; of flags that share one name, for the one that was chosen."""
    name = param.name or ""
    choice = getattr(param, "flag_value", None)
    chosen = not isinstance(choice, str) or context.params.get(name) == choice
    return chosen and context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _spelling(param: click.Parameter) -> str:
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name


def typed(flag: str) -> list[str]:
    """The words of the command that is running, as they were typed but for `flag`; paths by their last part.

    Options whose values are from localent.toml are added, so that the words do the same without it.
    """
    context = click.get_current_context()
    words = (*context.meta[TYPED], *config.as_words(context))
    return ["localent", *(_without_folder(word) for word in words if word != flag)]


def _without_folder(word: str) -> str:
    """A path of this machine by its last part; a model of the hub, OWNER/REPO:QUANT, as it is."""
    return Path(word).name if Path(word).exists() else word


# ── types of values ───────────────────────────────────────────────────────────────────────────────────────────────


class Finite(click.FloatRange):
    """A number within its range, and neither infinite nor nan, which every range lets through."""

    name = "float"

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a finite number.", param, ctx)


class File(click.Path):
    """A path; a pipe or a device is refused, because it may never end, or never begin."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path: Any = super().convert(value, param, ctx)
        if is_special(Path(path)):
            self.fail(f"{path} is a pipe or a device: save what it holds to a file, and name that.", param, ctx)
        return path


def is_special(path: Path) -> bool:
    """True for a pipe, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
