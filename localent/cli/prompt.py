"""localent prompt: exactly what will be fed to a model, as text and as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.options import ProblemFile, data_options
from localent.cli.output import echo, print_table, tell
from localent.cli.settings import (
    answer_options,
    lora_option,
    seed_option,
    settings_options,
    shots_option,
    template_options,
)
from localent.records import token_texts

if TYPE_CHECKING:
    from localent.engine import Vocab
    from localent.records import Problem
    from localent.runs import Settings
    from localent.tasks import Task

OPEN, CLOSE = "\u27e6", "\u27e7"  # ⟦ ⟧ around special tokens


@dataclass(frozen=True, slots=True)
class OneProblem:
    """One problem of a task, by its number."""

    task: str
    number: int  # from 1
    data: ProblemFile

    def load(self) -> tuple[Task, Problem]:
        """The task and the problem. Raises UsageError for a number that is out of range."""
        from localent.errors import UsageError

        task = self.data.load(self.task)
        if not 1 <= self.number <= len(task.problems):
            raise UsageError(f"{task.name} has {len(task.problems)} problems: -n takes 1 to {len(task.problems)}.")
        return task, task.problems[self.number - 1]


@click.command("prompt")
@click.argument("model", shell_complete=complete.models)
@lora_option
@Group(
    "one",
    OneProblem,
    click.argument("task", shell_complete=complete.tasks),
    click.option("-n", "number", type=int, default=1, show_default=True, help="Number of the problem, from 1."),
    data_options,
)
@settings_options(
    shots_option(),
    seed_option("Seed of the choice of worked examples."),
    answer_options,
    template_options,
    click.option(
        "--cue", default="auto", show_default=True, help="How probes ask for the answer; auto: measure which way fits."
    ),
)
@click.option("--text", "only_text", is_flag=True, help="Leave out the table of tokens.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(model: str, one: OneProblem, settings: Settings, only_text: bool, json_: bool) -> None:
    """Show the prompt of a problem: its text with ⟦special tokens⟧ marked, its tokens, and the cue for the answer.

    Each way of asking for the answer is tried on a few traces, once on this machine: the less probability it leaves on
    no answer, the better it fits the model. With --cue or --text nothing is run; only the vocabulary is loaded.

    \b
    localent prompt abacus-sft demo-number
    localent prompt gemma-2-2b-it gsm8k -n 3 --text
    localent prompt model.gguf gsm8k --template-var enable_thinking=false
    """
    from localent.report.table import harmless, json_text

    if json_:
        refuse_unused("--json", "only_text")
    task, problem = one.load()
    candidates = [] if settings.cue or only_text else _candidates(model, task, settings)
    if candidates:
        settings = replace(settings, cue=candidates[0]["cue"])
    shown = _shown(model, task, problem, settings) | {"cues": candidates}
    if json_:
        echo(json_text(shown))
        return
    click.echo(harmless(_marked(shown["tokens"])))
    if not only_text:
        rows = [
            (i, t["id"], "special" if t["special"] else "", t["text"] or t["piece"])
            for i, t in enumerate(shown["tokens"])
        ]
        echo()
        print_table(("position", "id", "", "text"), rows, None)
    echo()
    tell(*_facts(shown).split("\n"))
    if candidates:
        echo()
        tell("Probability that no answer follows a cue, on prefixes of a few traces:")
        print_table(("cue", "start", "half-way", "end", "mean"), [_cells(one) for one in candidates], None)


def _candidates(name: str, task: Task, settings: Settings) -> list[dict[str, Any]]:
    """The cues of the task's kind, the one that fits best first; none where the kind has only one."""
    from localent.cli.progress import Bar
    from localent.runs import cue, session
    from localent.runs.progress import Listener
    from localent.runs.questions import answered_by

    file = session.usable(name)
    task, settings = answered_by(task, file.header, settings)
    if len(task.kind.cues) < 2:
        return []
    with Bar() as bar, session.loaded(file, settings) as ready:
        found = session.cue_candidates(ready, task, Listener(status=bar.say))
    best = cue.best(found)
    ordered = [best, *(one for one in sorted(found, key=lambda one: one.mean) if one is not best)]
    return [{"cue": one.key, "invalid": list(one.invalid), "mean": one.mean} for one in ordered]


def _cells(candidate: dict[str, Any]) -> tuple[str, ...]:
    return (candidate["cue"], *(f"{mass:.3f}" for mass in (*candidate["invalid"], candidate["mean"])))


def _shown(name: str, task: Task, problem: Problem, settings: Settings) -> dict[str, Any]:
    """The prompt as a run would feed it, from the same functions."""
    from localent import tasks
    from localent.runs import session
    from localent.runs.questions import Prompts, answered_by
    from localent.tracing.prompt_tokens import prompt_tokens

    with session.vocabulary(name) as (head, vocab):
        task, settings = answered_by(task, head, settings)
        text = Prompts(task, head.template, vocab, settings).text(problem)
        fed = prompt_tokens(text, vocab)
        return {
            "problem": problem.source_id,
            "text": text.text,
            "tokens": _tokens(vocab, fed.tokens),
            "n_shared": fed.n_shared,
            "bos": None if vocab.bos is None else _text(vocab, vocab.bos),
            "ends": sorted(_text(vocab, token_id) for token_id in vocab.eog),
            "stops": list(text.stops),
            "template": bool(settings.chat_template or head.template),
            "template_given": settings.chat_template is not None,
            "cue": "".join(segment.text for segment in tasks.cue_after(text, "")),
        }


def _tokens(vocab: Vocab, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Each token with the characters that it completes, and its own bytes, which may be a part of one."""
    texts = token_texts([vocab.pieces[token_id] for token_id in ids])
    known = {one: {"piece": _text(vocab, one), "special": _is_special(vocab, one)} for one in set(ids)}
    return [{"id": one, "text": text, **known[one]} for one, text in zip(ids, texts, strict=True)]


def _text(vocab: Vocab, token_id: int) -> str:
    return vocab.pieces[token_id].decode("utf-8", "backslashreplace")


def _is_special(vocab: Vocab, token_id: int) -> bool:
    """True for a token that only the template's text can spell: the same letters in user text become other tokens."""
    text = _text(vocab, token_id)
    return vocab.tokenize(text, special=True) == [token_id] and token_id not in vocab.tokenize(text)


def _marked(tokens: list[dict[str, Any]]) -> str:
    return "".join(f"{OPEN}{t['text']}{CLOSE}" if t["special"] else t["text"] for t in tokens)


def _facts(shown: dict[str, Any]) -> str:
    bos = f"BOS {shown['bos']!r} once" if shown["bos"] else "no BOS"
    ends = ", ".join(map(repr, shown["ends"])) or "nothing"
    template = "chat template given" if shown["template_given"] else "chat template of the file"
    return (
        f"{len(shown['tokens'])} tokens, the first {shown['n_shared']} the same in every prompt of the run; {bos}; "
        f"{template if shown['template'] else 'worked examples, no chat template'}.\n"
        f"Generation ends at {ends}" + (f" or the text {shown['stops']!r}" if shown["stops"] else "") + ".\n"
        f"Cue for the answer before the first token: {shown['cue']!r}"
    )
