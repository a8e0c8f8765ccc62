"""localent.toml: defaults of the user's own for the options of commands. The command line wins over them.

    threads = 4                 # for every command that has --threads

    [run]                       # for one command
    temperature = 0.0

    [model."qwen3-0.6b"]        # for every command that names this model
    think-budget = 1024

    [model."qwen3-0.6b".ask]    # for one command on this model
    seed = 1

What stands further down here wins. A command that compares several models has one value of each option: tables of them
that contradict each other are refused, unless the command line decides. The values become click's default_map, so that
they are parsed, checked and stored as those of the command line are.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from localent.errors import UsageError

NAME = "localent.toml"
MODEL = "model"  # the table of models
MODEL_PARAMS = (MODEL, "models", "source", "reference")  # the parameters of commands that name models
CONFIG, TAKEN = "localent.config", "localent.taken"  # in a context's meta: the file; parameter -> its default in it
OF_MODELS = "localent.of_models"  # in a context's meta: parameter -> its defaults in the tables of the models named


@dataclass(frozen=True, slots=True)
class Default:
    """One value of the file: where it stands, and what it says."""

    where: str  # "[run] temperature", as in the file
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Table:
    """Defaults for every command, and for single ones."""

    of_all: tuple[Default, ...] = ()
    of_command: Mapping[str, tuple[Default, ...]] = field(default_factory=dict)

    def for_command(self, name: str) -> Iterable[Default]:
        """The defaults that may hold for a command; later ones win."""
        return (*self.of_all, *self.of_command.get(name, ()))


@dataclass(frozen=True, slots=True)
class Config:
    """A file of defaults."""

    path: Path
    general: Table
    models: Mapping[str, Table]

    def of_model(self, text: str) -> Iterable[Table]:
        """The tables of a model as it was named on the command line: its name, its file, the whole; later ones win.

        Of a model with an adapter, MODEL+FILE, also those of the model alone.
        """
        base = text.partition("+")[0]
        names = dict.fromkeys((base.partition(":")[0], Path(base).name, Path(text).name, base, text))
        return (self.models[name] for name in names if name in self.models)


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def found(given: Path | None, none: bool) -> Path | None:
    """The file to read: the one named, else localent.toml of the working folder where it is there."""
    if none and given:
        raise UsageError("--no-config and --config contradict each other: leave one out.")
    if given or none:
        return given
    return Path(NAME) if Path(NAME).is_file() else None


def read(path: Path, commands: Mapping[str, click.Command]) -> Config:
    """The defaults of a file, every name in it checked. Raises UsageError that names the file and the key."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:  # also a number too long, or tables too deep
        raise UsageError(f"{path} is not TOML: {error}.") from None
    models = raw.pop(MODEL, {})
    if not isinstance(models, dict) or not all(isinstance(table, dict) for table in models.values()):
        raise UsageError(f"{path}: '{MODEL}' holds tables of models: write [{MODEL}.\"NAME\"] and options below it.")
    try:
        named = {name: _table(table, commands, f'{MODEL}."{name}"') for name, table in models.items()}
        return Config(path, _table(raw, commands, ""), named)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _table(raw: Mapping[str, Any], commands: Mapping[str, click.Command], above: str) -> Table:
    """A table of options and of tables of commands. above: its own name, "" at the top."""
    everywhere = {key: value for key, value in raw.items() if not isinstance(value, dict)}
    of_command = {}
    for name in [name for name in raw if name not in everywhere]:
        where = f"{above}.{name}" if above else name
        if name not in commands:
            raise UsageError(f"[{where}] is no command{_nearest(name, commands)}")
        of_command[name] = _defaults(raw[name], [commands[name]], where)
    return Table(_defaults(everywhere, list(commands.values()), above), of_command)


def _defaults(raw: Mapping[str, Any], commands: list[click.Command], where: str) -> tuple[Default, ...]:
    """The options of a table, each one that these commands have."""
    found = [Default(f"[{where}] {key}" if where else key, key, value) for key, value in raw.items()]
    for default in found:
        _check(default, commands)
    return tuple(found)


def _check(default: Default, commands: list[click.Command]) -> None:
    """Raise UsageError unless one of these commands has the option, and it takes a value like this."""
    key, value, where = default.key, default.value, default.where
    options = [option for command in commands if (option := option_of(command, key))]
    if not options:
        names = {name for command in commands for name in _names_of(command)}
        whose = f"'{commands[0].name}' has no option --{key}" if len(commands) == 1 else "no command has that option"
        raise UsageError(f"{where}: {whose}{_nearest(key, names)}")
    if isinstance(value, dict):
        raise UsageError(f"{where}: expected a value, got a table.")
    for option in options:
        if option.is_flag and not isinstance(value, bool):
            raise UsageError(f"{where}: --{key} takes no value: write true or false, got {value!r}.")
        if not option.is_flag and (isinstance(value, bool) or (isinstance(value, list) and not option.multiple)):
            raise UsageError(f"{where}: --{key} takes one value, got {value!r}.")


def option_of(command: click.Command, key: str) -> click.Option | None:
    """The option of a command that is spelled --key, or -k."""
    spelled = f"--{key}" if len(key) > 1 else f"-{key}"
    options = (one for one in command.params if isinstance(one, click.Option))
    return next((one for one in options if spelled in (*one.opts, *one.secondary_opts)), None)


def _names_of(command: click.Command) -> Iterable[str]:
    options = (one for one in command.params if isinstance(one, click.Option))
    return (spelled.lstrip("-") for one in options for spelled in (*one.opts, *one.secondary_opts))


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{near[0]}'?" if near else "."


# ── taking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def take(context: click.Context, config: Config, command: click.Command) -> None:
    """Make the file's defaults for this command those of click."""
    context.meta[CONFIG] = config
    name = command.name or ""
    context.default_map = {name: _chosen(context, _values(command, config.general.for_command(name)))}


def _values(command: click.Command, defaults: Iterable[Default]) -> dict[str, tuple[Default, Any]]:
    """Parameter -> its default, and what click shall take. An option that this command does not have is not used."""
    values: dict[str, tuple[Default, Any]] = {}
    for default in defaults:
        option = option_of(command, default.key)
        if option is None or option.name is None:
            continue
        value = value_of(option, default)
        if value is not None:
            values[option.name] = default, value
    return values


def _chosen(context: click.Context, values: Mapping[str, tuple[Default, Any]]) -> dict[str, Any]:
    """Parameter -> value, and a note of where it stands."""
    taken = context.meta.setdefault(TAKEN, {})
    taken.update({name: default for name, (default, _) in values.items()})
    return {name: value for name, (_, value) in values.items()}


def value_of(option: click.Option, default: Default) -> Any:
    """What click shall take for the option; None: nothing, as for a form of output that is not asked for."""
    if option.multiple:
        return default.value if isinstance(default.value, list) else [default.value]
    if f"--{default.key}" in option.secondary_opts:
        return not default.value
    if option.is_flag and isinstance(option.flag_value, str):
        return option.flag_value if default.value else None
    return default.value


def of_models(before: Callable[..., Any] | None) -> Callable[..., Any]:
    """A callback of a parameter that names models: options that were not given take what the file says of these."""

    def call(context: click.Context, param: click.Parameter, value: Any) -> Any:
        config: Config | None = context.meta.get(CONFIG)
        for text in _named(value) if config is not None else ():
            assert config is not None
            _take_model(context, config, text)
        return before(context, param, value) if before else value

    return call


def _named(value: Any) -> Iterable[str]:
    """The models that the value of a parameter names; for a folder, its files."""
    texts = [value] if isinstance(value, str) else value or ()
    for text in texts:
        yield from sorted(map(str, Path(text).glob("*.gguf"))) if Path(text).is_dir() else [text]


def _take_model(context: click.Context, config: Config, text: str) -> None:
    """Add the defaults of one model; the first model named decides, and what others say is kept to be compared."""
    name, before = context.command.name or "", context.meta.setdefault(OF_MODELS, {})
    defaults = [one for table in config.of_model(text) for one in table.for_command(name)]
    for param, value in _values(context.command, defaults).items():
        before.setdefault(param, []).append(value)
    chosen = {param: values[0] for param, values in before.items()}
    context.default_map = {**(context.default_map or {}), **_chosen(context, chosen)}


def _refuse_contradictions(context: click.Context) -> None:
    """Raise UsageError where tables of two models differ in an option that the command line leaves open."""
    for name, values in context.meta.get(OF_MODELS, {}).items():
        (first, value), *others = values
        other = next((default for default, its in others if its != value), None)
        if other and is_taken(context, name):
            told = " and ".join(f"{one.where} = {_text(one.value)}" for one in (first, other))
            option = option_of(context.command, first.key)
            way = max(option.opts, key=len) if option else f"--{first.key}"
            raise UsageError(f"{context.meta[CONFIG].path}: {told}: for models side by side, decide with {way}.")


def telling(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a command that says first, on stderr, which defaults of a file it works with."""

    @wraps(callback)
    def call(*args: Any, **given: Any) -> Any:
        context = click.get_current_context()
        _refuse_contradictions(context)
        if taken := [_spelled(default) for default in taken_in(context)]:
            from localent.report.table import harmless

            click.echo(harmless(f"localent: {context.meta[CONFIG].path} sets {', '.join(taken)}."), err=True)
        return callback(*args, **given)

    return call


def taken_in(context: click.Context) -> list[Default]:
    """The defaults of the file that the command works with, in the order of its options."""
    taken: dict[str, Default] = context.meta.get(TAKEN, {})
    names = dict.fromkeys(param.name or "" for param in context.command.params)
    return [taken[name] for name in names if name in taken and is_taken(context, name)]


def as_words(context: click.Context) -> list[str]:
    """The options that do on the command line what the file does for the command."""
    return [word for default in taken_in(context) for word in _words(context.command, default)]


def _words(command: click.Command, default: Default) -> list[str]:
    option = option_of(command, default.key)
    spelled = f"--{default.key}" if len(default.key) > 1 else f"-{default.key}"
    if option is None or default.value is True:
        return [spelled]
    if default.value is False:
        others = option.opts if spelled in option.secondary_opts else option.secondary_opts
        return others[:1]
    values = default.value if isinstance(default.value, list) else [default.value]
    return [word for value in values for word in (spelled, str(value))]


def is_taken(context: click.Context, name: str) -> bool:
    """True for a parameter whose value is from the file."""
    return context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP


def _spelled(default: Default) -> str:
    return f"{default.key} = {_text(default.value)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def place_of(error: click.UsageError) -> str:
    """Where the value stands that a usage error is about, if it is from the file: "localent.toml: [run] seed: "."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return ""
    name, context = error.param.name or "", error.ctx
    if name not in context.meta.get(TAKEN, {}) or not is_taken(context, name):
        return ""
    return f"{context.meta[CONFIG].path}: {context.meta[TAKEN][name].where}: "
