"""localent prompt: exactly what will be fed to a model, as text and as tokens."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli.options import ProblemFile, data_options, prompt_options
from localent.cli.output import print_table

OPEN, CLOSE = "\u27e6", "\u27e7"  # ⟦ ⟧ around special tokens


@click.command("prompt")
@click.argument("model")
@click.argument("task")
@click.option("-n", "number", type=int, default=1, show_default=True, help="Which problem of the task: 1 is the first.")
@data_options
@click.option("--shots", type=int, help="Worked examples. Default: 0 for chat models, 4 for others.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of worked examples.")
@prompt_options
@click.option("--text", "only_text", is_flag=True, help="No table of tokens.")
@click.option("--json", "json_", is_flag=True, help="Print it as JSON.")
def command(model: str, task: str, number: int, data: ProblemFile, only_text: bool, json_: bool, **chosen):
    """Show the prompt of a problem: its text with ⟦special tokens⟧ marked, its tokens, the cue that asks for answers.

    Nothing is run; only the vocabulary is loaded.

    \b
    localent prompt abacus-sft demo-number
    localent prompt gemma-2-2b-it gsm8k -n 3 --text
    localent prompt model.gguf gsm8k --system "Be brief." --template-var enable_thinking=false
    """
    from localent import models
    from localent.report.table import harmless, json_text
    from localent.runs.settings import Settings

    loaded = data.load(task)
    shown = _shown(models.resolve(model), loaded, _problem(loaded, number), Settings(**chosen))
    if json_:
        click.echo(json_text(shown))
        return
    click.echo(harmless(_marked(shown["tokens"])))
    if not only_text:
        rows = [(i, t["id"], "special" if t["special"] else "", t["text"]) for i, t in enumerate(shown["tokens"])]
        click.echo()
        print_table(("position", "id", "", "text"), rows, None)
    click.echo(f"\n{_facts(shown)}")


def _problem(task, number: int):
    from localent.errors import UsageError

    if not 1 <= number <= len(task.problems):
        raise UsageError(f"{task.name} has {len(task.problems)} problems: -n takes 1 to {len(task.problems)}.")
    return task.problems[number - 1]


def _shown(path: Path, task, problem, settings) -> dict:
    """The prompt as a run would feed it, from the same functions."""
    from localent import engine, runs, tasks
    from localent.files import identity
    from localent.tracing.prompt_tokens import prompt_tokens

    head = identity.identify(path)
    with engine.open(path, vocab_only=True) as model:
        vocab = model.vocab
        text = runs.prompt_text(task, problem, head, settings, vocab)
        fed = prompt_tokens(text, vocab)
        return {
            "problem": problem.source_id,
            "text": text.text,
            "tokens": [_token(vocab, token_id) for token_id in fed.tokens],
            "n_shared": fed.n_shared,
            "bos": None if vocab.bos is None else _text(vocab, vocab.bos),
            "ends": sorted(_text(vocab, token_id) for token_id in vocab.eog),
            "stops": list(text.stops),
            "template": head.template is not None,
            "cue": "".join(segment.text for segment in tasks.cue_after(text, "")),
        }


def _token(vocab, token_id: int) -> dict:
    return {"id": token_id, "text": _text(vocab, token_id), "special": _is_special(vocab, token_id)}


def _text(vocab, token_id: int) -> str:
    return vocab.pieces[token_id].decode("utf-8", "backslashreplace")


def _is_special(vocab, token_id: int) -> bool:
    """Whether only the template's text can spell it: a user's text with the same letters becomes other tokens."""
    text = _text(vocab, token_id)
    return vocab.tokenize(text, special=True) == [token_id] and token_id not in vocab.tokenize(text)


def _marked(tokens: list[dict]) -> str:
    return "".join(f"{OPEN}{t['text']}{CLOSE}" if t["special"] else t["text"] for t in tokens)


def _facts(shown: dict) -> str:
    bos = f"BOS {shown['bos']!r} once" if shown["bos"] else "no BOS"
    ends = ", ".join(map(repr, shown["ends"])) or "nothing"
    return (
        f"{len(shown['tokens'])} tokens, the first {shown['n_shared']} the same in every prompt of the run; {bos}; "
        f"{'chat template of the file' if shown['template'] else 'worked examples, no chat template'}.\n"
        f"Generation ends at {ends}" + (f" or the text {shown['stops']!r}" if shown["stops"] else "") + ".\n"
        f"Asked for an answer after nothing was written: {shown['cue']!r}"
    )
