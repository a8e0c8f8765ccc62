"""The interface of an answer kind: everything that depends on the form of an answer, and nothing else does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.tasks.identity import problem_id
from localent.tasks.kinds.cues import Cue
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.text import Found

# How a data file may name the true option. "index": counted from 0 or from 1, as the whole file shows.
ANSWER_IS = ("label", "text", "index", "index0", "index1")


# Begins an instruction. "Reason ... On the last line, write ..." led small models to write that line at once.
STEPWISE = 'Solve the problem step by step, one step per line, and end with a line that says "The answer is" and then '
ABSENT = "absent"  # method of a Found without value: a definite answer that is none of the problem's options


class Clause(NamedTuple):
    """text[begin:end], where an answer is stated. The text is folded (see tasks.text.fold)."""

    text: str
    begin: int
    end: int


class Gold(NamedTuple):
    """The true answer as a data file gives it."""

    answer: str  # without surrounding space
    choices: tuple[Choice, ...]
    place: str  # "mine.jsonl, line 57", for messages
    answer_is: str | None = None  # one of ANSWER_IS; None: the data file must be unambiguous


class Worked(NamedTuple):
    """A worked example as it is written down in the file of its kind."""

    question: str
    solution: str  # its steps, one a line, without the answer statement
    answer: str  # normalised
    options: tuple[str, ...] = ()  # labelled A, B, C, ...


class Kind(ABC):
    """One form of answer. The database stores its `name`; code passes the object.

    To add a kind, write one file in this folder and register it in `kinds/__init__.py`.
    """

    name: str  # how the answer is asked for, as probes store it: "number", "choice", "option text"
    form: str  # of its answers, as a task stores it; as `name` unless a kind is another way to ask
    noun: str  # one answer, in messages: "number", "option"
    instruction: str  # follows the question in a chat
    worked: tuple[Worked, ...]
    statement: str = "The answer is"  # begins the answer statement that instruction and worked examples show
    settles: bool = False  # `last` reads nothing that is only mentioned, also after a statement that gives no answer
    lists_options: bool = True  # the question is followed by its options
    takes_options: bool = False  # its problems have options
    exact: bool = True  # it has a grammar, so that probes compute answer distributions; False: only rollouts
    reads_lists: bool = True  # a list in a data file holds several answers; False: its brackets belong to one

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__ and "form" not in cls.__dict__:
            cls.form = cls.name

    @property
    def cues(self) -> tuple[Cue, ...]:
        """Ways to ask for the answer now, the first where nothing speaks for another."""
        return (Cue("sentence", self.statement),)

    @cached_property
    def examples(self) -> tuple[Problem, ...]:
        """Worked examples for models without a chat template; no public set contains them."""
        return tuple(self._example(i, worked) for i, worked in enumerate(self.worked, start=1))

    def _example(self, index: int, worked: Worked) -> Problem:
        choices = self._choices(worked)
        return Problem(
            problem_id=problem_id(worked.question, worked.answer, choices),
            source_id=str(index),
            question=worked.question,
            answer=worked.answer,
            choices=choices,
            solution=f"{worked.solution}\n{self.statement} {worked.answer}.",
        )

    def _choices(self, worked: Worked) -> tuple[Choice, ...]:
        labels = map(chr, range(ord("A"), ord("Z") + 1))
        return tuple(Choice(label, text) for label, text in zip(labels, worked.options, strict=False))

    # --- problems ---

    @abstractmethod
    def fits(self, answer: str, choices: Sequence[Choice]) -> bool:
        """True if a problem with this answer, as written or normalised, and these options is of this kind."""

    @abstractmethod
    def normalise(self, gold: Gold) -> str:
        """The true answer in the form that grading compares. Raises UsageError if the data file leaves it open."""

    def gold_of(self, golds: Sequence[Gold]) -> str:
        """The true answer of a row that accepts several. Raises UsageError where they are not the same."""
        values = list(dict.fromkeys(self.normalise(gold) for gold in golds))
        if len(values) > 1:
            raise UsageError(
                f"{golds[0].place} accepts several answers ({', '.join(values[:3])}), and the kind {self.name} has one:"
                " give one, or add --kind text."
            )
        return values[0]

    @abstractmethod
    def chance(self, problem: Problem) -> float:
        """Probability that a blind guess is right."""

    @abstractmethod
    def ln_others(self, problems: Sequence[Problem]) -> float:
        """ln of the number of wrong answers there can be, at most, for one of these problems."""

    # --- extraction ---

    def agree(self, value: str, gold: str) -> bool:
        """True if an extracted answer is the true one, both normalised."""
        return value == gold

    def overlap(self, value: str | None, gold: str) -> float | None:
        """How much of the true answer an answer gives, from 0 to 1; None: answers are right or wrong, no more."""
        return None

    def merged(self, values: Sequence[str | None], gold: str) -> list[str | None]:
        """The answers of many texts, spelled as the true one where they are the same."""
        settled = {value: gold if gold and self.agree(value, gold) else value for value in values if value is not None}
        return [None if value is None else settled[value] for value in values]

    @abstractmethod
    def stated(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        """The answer that a clause after "The answer is" gives; None if it gives none."""

    def named(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        """The answer that a clause before "is the answer" gives: "So 12" """
        found = self.last(clause.text[: clause.end], clause.begin, choices)
        return found._replace(method="answer statement") if found and found.value is not None else None

    @abstractmethod
    def heads_solution(self, clause: Clause, found: Found) -> bool:
        """True if a bare "Answer:" heads a worked solution: words or a sum come first, and more follows the clause."""

    @abstractmethod
    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        """The last answer of text[begin:], for a text without an answer statement; None if it has none."""

    # --- probing ---

    def grammar(self, pieces: Sequence[bytes], choices: Sequence[Choice]) -> Grammar:
        """The answers of this kind over a vocabulary, where it is `exact`."""
        raise TypeError(f"answers of the kind {self.name} have no grammar")
