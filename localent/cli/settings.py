"""The options that set how a model is run, each defined once, and the bundles in which commands offer them."""

from __future__ import annotations

import json
import os
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from localent.cli.arguments import Decorator, Finite, Function, Group, refuse_unused, together
from localent.cli.options import PATH

if TYPE_CHECKING:
    from localent.runs import Settings
    from localent.runs.shard import Shard


MAX_TOKENS = "Maximum tokens per trace. Default: 512, 4096 for a model that thinks; less for models of short context."
SHOTS = "Worked examples in the prompt. Default: 0 for chat models and answers by text, else 4."


def settings_options(*options: Decorator) -> Group:
    """The settings of a run: those that the command offers, the others at their defaults."""
    return Group("settings", _settings, *options)


def _settings(**values: Any) -> Settings:
    from localent.runs import Settings

    if values.pop("recommended", False):
        values |= _recommended()
    if values.get("temperature") == 0:
        refuse_unused("--temperature 0", "top_p", "top_k", "min_p")
    if all(values.get(name, off) == off for name, off in PENALTIES.items()):
        refuse_unused("A run without penalties", "repeat_last_n")
    if not values.get("probe", True):
        refuse_unused("--no-probe", "probes", "cue", "epsilon", "max_fed", "paths")
    if values.get("cue") == "auto":
        values["cue"] = None
    return Settings(**values)


def seed_option(text: str = "Seed of sampling.") -> Decorator:
    """--seed: what random choices follow from."""
    return click.option("--seed", type=int, default=0, show_default=True, help=text)


def temperature_option(text: str = "0 always takes the most likely token.") -> Decorator:
    """--temperature of sampling."""
    return click.option("--temperature", type=Finite(), default=0.7, show_default=True, help=text)


def max_tokens_option(text: str = MAX_TOKENS) -> Decorator:
    """--max-tokens: where a trace is cut off."""
    return click.option("--max-tokens", type=int, help=text)


def shots_option(text: str = SHOTS) -> Decorator:
    """--shots: how many worked examples come first."""
    return click.option("--shots", type=int, help=text)


def effort_options(when: str = "") -> Decorator:
    """--cue, --max-fed and --paths: how a probe asks for the answer, and how long it looks. when: "With --task: "."""
    cue = "how probes ask for the answer; auto: as fits the model ('localent prompt' lists the ways). Or your own text."
    fed = "maximum tokens by which a probe searches, branch by branch while one is likelier than one in so many."
    paths = "paths drawn to estimate what the search left open: so many for all of it, fewer for less; 0: none."
    options = (
        click.option("--cue", default="auto", show_default=True, help=_begun(when, cue)),
        click.option("--max-fed", type=int, default=8, show_default=True, help=_begun(when, fed)),
        click.option("--paths", type=int, default=8, show_default=True, help=_begun(when, paths)),
    )
    return together(*options)


def _begun(when: str, text: str) -> str:
    return when + text if when else text[0].upper() + text[1:]


class Probes(click.ParamType):
    """all (None), or a number of prefixes."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "all"):
            return None
        try:
            return int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither 'all' nor a number of prefixes.", param, ctx)


probes_option = click.option(
    "--probes",
    type=Probes(),
    metavar="N|all",
    default=5,
    show_default=True,
    help="Prefixes probed in each trace, spread over its steps (start, half and end always); all: after every step.",
)


def lanes_option(text: str = "Traces at a time.", default: int | None = None) -> Decorator:
    """--lanes: how much is computed at a time."""
    return click.option("--lanes", type=int, default=default, show_default=default is not None, help=text)


top_p_option = click.option(
    "--top-p",
    type=Finite(),
    default=1.0,
    show_default=True,
    help="Sample from the most likely tokens that together have this probability.",
)
top_k_option = click.option(
    "--top-k", type=int, default=0, show_default=True, help="Sample from the k most likely tokens; 0: all."
)
PENALTIES = {"repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}  # without effect


recommended_option = click.option(
    "--recommended",
    is_flag=True,
    help="Sample as the model's makers recommend, where models.toml knows it: 'localent models NAME' shows how.",
)


def _recommended() -> dict[str, float]:
    """The sampling that the makers of the command's MODEL recommend. Refuses options that would set it too."""
    from localent import models
    from localent.models.names import SAMPLING

    refuse_unused("--recommended", *SAMPLING)
    return models.recommended(click.get_current_context().params["model"])


filter_options = together(  # and the penalties of recent tokens, with llama.cpp's names
    top_p_option,
    top_k_option,
    click.option(
        "--min-p",
        type=Finite(),
        default=0.0,
        show_default=True,
        help="Sample from the tokens of at least this share of the largest probability; 0: all.",
    ),
    click.option(
        "--repeat-penalty",
        type=Finite(),
        default=1.0,
        show_default=True,
        help="Divide the positive logits of recent tokens by this, multiply the others; 1: off.",
    ),
    click.option(
        "--presence-penalty",
        type=Finite(),
        default=0.0,
        show_default=True,
        help="Subtract from logits of recent tokens.",
    ),
    click.option(
        "--frequency-penalty", type=Finite(), default=0.0, show_default=True, help="The same, for each time one came."
    ),
    click.option(
        "--repeat-last-n",
        type=int,
        default=64,
        show_default=True,
        help="How many tokens of prompt and trace are recent; -1: all.",
    ),
)


answer_by_option = click.option(
    "--answer-by",
    type=click.Choice(["auto", "letter", "text"]),
    default="auto",
    show_default=True,
    help="How options are answered. auto: by text where the model has no chat template, else by letter.",
)
option_score_option = click.option(
    "--option-score",
    type=click.Choice(["character", "token", "sum"]),
    default="character",
    show_default=True,
    help="By text: log-likelihood per character, per token, or summed.",
)


after_answer_option = click.option(
    "--after-answer",
    type=click.Choice(["stop", "go-on"]),
    default="stop",
    show_default=True,
    help="Whether a trace ends with the line that states its answer.",
)
think_budget_option = click.option(
    "--think-budget", type=int, help="Close a thought after so many tokens and go on to the answer. Default: never."
)


# ── a part of a run ───────────────────────────────────────────────────────────────────────────────────────────────


def _shard(context: click.Context, param: click.Parameter, given: str | None) -> Shard | None:
    """The part that was asked for, or that of a task of a SLURM job array."""
    from localent.runs.shard import of_array_job, parse

    return of_array_job(os.environ) if given is None else parse(given)


shard_option = click.option(
    "--shard",
    metavar="K/N",
    callback=_shard,
    help="Make part K of N, in a file of its own, for 'localent merge'. Default: a SLURM job array's own, else all.",
)


def file_of_part(db: Path, settings: Settings) -> Path:
    """The database of a part of a run: beside the default one, unless another was named.

    Says which part it is, where a job array knows. Raises a usage error in one that does not.
    """
    context = click.get_current_context()
    if context.get_parameter_source("shard") is ParameterSource.DEFAULT:
        _tell_array_job(settings.shard)
    named = context.get_parameter_source("db") is not ParameterSource.DEFAULT
    return db if named or settings.shard is None else settings.shard.file(db)


def _tell_array_job(found: Shard | None) -> None:
    if found:
        click.echo(f"A task of a SLURM job array: this is shard {found}; --shard 1/1 makes all of the run.", err=True)
    elif "PBS_ARRAY_INDEX" in os.environ:
        raise click.UsageError(
            "PBS does not tell a task how many there are in its job array: give --shard $PBS_ARRAY_INDEX/N for -J 1-N,"
            " or --shard 1/1 to make all of the run in each."
        )


# ── hardware and context ──────────────────────────────────────────────────────────────────────────────────


class GpuLayers(click.ParamType):
    """auto (None: those that fit), or a number of layers."""

    name = "auto|N|0"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "auto"):
            return None
        try:
            layers = int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither 'auto' nor a number of layers.", param, ctx)
        return layers if layers >= -1 else self.fail(f"{layers} is not a number of layers; -1 means all.", param, ctx)


def _rpc(context: click.Context, param: click.Parameter, given: tuple[str, ...]) -> None:
    """Refuse it, with the reason."""
    if not given:
        return
    from localent import engine

    reason = "localent cannot use yet" if engine.supports_rpc() else f"{engine.requirement()} is built without"
    raise click.UsageError(
        f"--rpc needs llama.cpp's RPC backend, which {reason}: take a quant that fits one machine ('localent choose'),"
        " or share the problems with --shard or --dask."
    )


rpc_option = click.option(
    "--rpc",
    multiple=True,
    metavar="HOST:PORT",
    callback=_rpc,
    expose_value=False,
    help="A server of llama.cpp's RPC backend, for a model larger than one machine. Refused by builds without it.",
)
threads_option = click.option("--threads", type=int, help="Default: the physical cores this process may use.")
gpu_layers_option = click.option(
    "--gpu-layers", type=GpuLayers(), default="auto", show_default=True, help="Layers on the GPU: auto, N, or 0."
)
CACHE_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")  # engine.CACHE_BITS


def _cache_type(of: str, what: str) -> Decorator:
    text = f"Type of the {what} in the cache; a run under another is another run."
    return click.option(
        f"--cache-type-{of}", type=click.Choice(CACHE_TYPES), default="f16", show_default=True, help=text
    )


cache_options = together(_cache_type("k", "keys"), _cache_type("v", "values"))
ctx_option = click.option("--ctx", type=int, help="Context per lane in tokens. Default: what the longest prompt needs.")


# ── adapters ──────────────────────────────────────────────────────────────────────────────────────────────────────

_lora = click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="FILE[:SCALE]",
    help="A LoRA adapter in GGUF beside the model, which is another model with it; may be repeated.",
)


def lora_option(command: Function) -> Function:
    """--lora: the command's MODEL becomes MODEL+FILE[:SCALE], which can be written so wherever a model is named."""

    @wraps(command)
    def call(*args: Any, model: str, loras: tuple[str, ...], **given: Any) -> Any:
        return command(*args, model="+".join([model, *loras]), **given)

    return _lora(call)


# ── additions to the prompt ─────────────────────────────────────────────────────────────────


class TemplateVar(click.ParamType):
    """NAME=VALUE -> (name, value): true, false and numbers as such, the rest as text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, object]:
        name, sign, text = value.partition("=")
        if not (sign and name.isidentifier()):
            self.fail(f"{value!r} is not written NAME=VALUE, for example enable_thinking=false.", param, ctx)
        try:
            return name, json.loads(text.lower() if text.lower() in ("true", "false") else text)
        except ValueError:
            return name, text


system_option = click.option(
    "--system", help="A system text. Chat templates without a system role get it before the question."
)
template_var_option = click.option(
    "--template-var",
    "template_vars",
    type=TemplateVar(),
    multiple=True,
    callback=lambda ctx, param, given: dict(given),
    help="Set a variable of the model's chat template, for example enable_thinking=false.",
)


def _template_text(context: click.Context, param: click.Parameter, path: Path | None) -> str | None:
    """The text of a template's file."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(f"{path} is not a text file that can be read.", context, param) from None
    if not text.strip():
        raise click.BadParameter(f"{path} is empty: name a file that holds a Jinja template.", context, param)
    return text


chat_template_option = click.option(
    "--chat-template-file",
    "chat_template",
    type=PATH,
    callback=_template_text,
    help="A Jinja chat template to use in place of the model's own.",
)


# ── bundles ───────────────────────────────────────────────────────────────────────────────────────────────────────

trace_options = together(max_tokens_option(), think_budget_option, after_answer_option)
answer_options = together(answer_by_option, option_score_option)
template_options = together(system_option, template_var_option, chat_template_option)
prompt_options = together(shots_option(), answer_options, template_options)
hardware_options = together(threads_option, gpu_layers_option, ctx_option, cache_options)
