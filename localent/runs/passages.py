"""The texts that a model is given to read: a plain file, conversations in JSONL, or the traces of a stored run.

Conversations go through a model's own chat template, and only what the assistant says in them counts. Traces are
conversations too: the problem asks, the trace answers, whichever model wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localent.engine import Vocab
from localent.errors import LocalentError, UsageError
from localent.files.opening import refuse_special
from localent.store import Database, open_db
from localent.tasks import BUNDLED, kinds
from localent.tasks.prompt import question_text
from localent.tasks.template import Part, Turn, render_dialogue
from localent.tracing.prompt_tokens import SAID_BY, dialogue_tokens

PLAIN, CHAT, TRACES = "plain", "chat", "traces"
SHAREGPT = {"human": "user", "gpt": SAID_BY, "bing": SAID_BY, "chatgpt": SAID_BY}  # its names of the roles
TEXTS = "select problem_id, sample, text, n_given from traces where run_id = ? order by 1, 2"
LAYOUT = 'write one object a line, {"messages": [{"role": "user", "content": "..."}, ...]}'


class NoTextError(UsageError):
    """A name that is neither a file nor a run."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation, or one trace with its question."""

    turns: tuple[Turn, ...]  # (role, text)
    place: str  # its name in a sentence
    cluster: str  # the same in dialogues that resampling takes or leaves together


@dataclass(frozen=True, slots=True)
class Passage:
    """A text by the name that the user gave it: plain, or in dialogues."""

    name: str
    form: str  # PLAIN | CHAT | TRACES
    text: str = ""
    dialogues: tuple[Dialogue, ...] = ()


@dataclass(frozen=True, slots=True)
class Voice:
    """The chat template that dialogues are written with. None: the model has none."""

    template: str | None
    variables: Mapping[str, Any]

    def tokens(self, dialogue: Dialogue, vocab: Vocab) -> list[tuple[int, bool]]:
        """The tokens of a dialogue, each with True if it counts: the assistant's, with the end of its turn.

        Raises LocalentError where the template cannot carry it, or the model has none.
        """
        try:
            return dialogue_tokens(self._parts(dialogue), vocab)
        except LocalentError as error:
            raise LocalentError(f"{dialogue.place[:1].upper()}{dialogue.place[1:]}: {error}") from None

    def _parts(self, dialogue: Dialogue) -> list[Part]:
        if self.template is not None:
            return render_dialogue(self.template, dialogue.turns, self.variables)
        (first, question), *others = dialogue.turns
        if first != "user" or [role for role, _ in others] != [SAID_BY]:
            raise LocalentError("the model has no chat template to write a conversation with: name a model that has.")
        return [(f"Question: {question}\nSolution:", None), (f" {others[0][1]}", SAID_BY)]


def read_passages(names: Sequence[str], db: Path) -> list[Passage]:
    """The texts by their names: files, and runs of the database. Raises UsageError for one that cannot be read."""
    found = [_read(name, db) for name in names]
    if twice := next((p.name for i, p in enumerate(found) if p.name in {q.name for q in found[:i]}), None):
        raise UsageError(f"Two texts are called {twice}: name each once, or rename one.")
    return found


def _read(name: str, db: Path) -> Passage:
    path = Path(name)
    if path.suffix in (".jsonl", ".ndjson") and path.is_file():
        return Passage(path.name, CHAT, dialogues=tuple(_conversations(path)))
    if path.is_file():
        return Passage(path.name, PLAIN, plain_text(path))
    if not db.is_file():
        raise NoTextError(f"No file '{name}': name a text file, conversations in JSONL, or a run of a database (--db).")
    try:
        with open_db(db, readonly=True) as store:
            return _traces(store, name)
    except UsageError as error:
        raise NoTextError(f"No file '{name}'. {error}") from None


# ── plain text ────────────────────────────────────────────────────────────────────────────────────────────────────


def plain_text(path: Path) -> str:
    """A text file as llama-perplexity reads it: without a final line break.

    Raises UsageError for one that cannot be read or is not UTF-8.
    """
    refuse_special(path)
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}).") from None
    return text.removesuffix("\n")


# ── conversations ─────────────────────────────────────────────────────────────────────────────────────────────────


def _conversations(path: Path) -> Iterator[Dialogue]:
    lines = [(n, line) for n, line in enumerate(plain_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise UsageError(f"{path.name} has no conversations: {LAYOUT}.")
    for n, line in lines:
        place = f"line {n} of {path.name}"
        yield Dialogue(_turns(_messages(line, place), place), place, place)


def _messages(line: str, place: str) -> list[Any]:
    """The messages of a line: OpenAI's "messages", ShareGPT's "conversations", or a bare list."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError(f"{place[:1].upper()}{place[1:]} is not JSON: {LAYOUT}.") from None
    found = row.get("messages", row.get("conversations")) if isinstance(row, dict) else row
    if not isinstance(found, list) or not found:
        raise UsageError(f"{place[:1].upper()}{place[1:]} has no messages: {LAYOUT}, or name plain text .txt.")
    return found


def _turns(messages: Iterable[Any], place: str) -> tuple[Turn, ...]:
    turns = tuple(_turn(message, place) for message in messages)
    if not any(role == SAID_BY and text for role, text in turns):
        raise UsageError(f"In {place} the assistant says nothing, so nothing can be scored: leave the line out.")
    return turns


def _turn(message: Any, place: str) -> Turn:
    fields = message if isinstance(message, dict) else {}
    role, content = fields.get("role", fields.get("from")), fields.get("content", fields.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(role, str) or not isinstance(content, str):
        raise UsageError(f"A message in {place} lacks a role or a text: {LAYOUT}.")
    return SHAREGPT.get(role, role), content


# ── traces ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _traces(store: Database, run_id: str) -> Passage:
    run = store.run(run_id)
    kind = kinds.named(store.kind(run.task))
    asked = {p.problem_id: p for p in store.problems(run.task)}
    found = store.query(TEXTS, run.run_id)
    if any(t["n_given"] for t in found):
        raise UsageError(f"Run {run.run_id} has lines from outside in its traces, which no model said: name another.")
    instruction = "" if run.task in BUNDLED else kind.instruction
    dialogues = tuple(
        Dialogue(
            (
                ("user", f"{question_text(asked[trace['problem_id']], kind)}\n\n{instruction}".strip()),
                (SAID_BY, str(trace["text"])),
            ),
            f"trace {trace['sample']} of problem {trace['problem_id']}",
            asked[trace["problem_id"]].cluster,
        )
        for trace in found
        if trace["text"]
    )
    if not dialogues:
        raise UsageError(f"Run {run.run_id} has no traces to read: name another.")
    return Passage(run.run_id, TRACES, dialogues=dialogues)
