"""Answers by the text of an option: the likelihood of each option's text, without listing the options.

This is how a model without a chat template shows what it knows: asked for a label, a small or base model guesses.
The prompt is the question alone. After the prefix and the cue "Answer:", each option's text has a log-likelihood ll;
the answer distribution is the softmax of its score over the options:

- `character`: ll / characters of the text, lm-evaluation-harness's acc_norm; the default
- `token`: ll / tokens of the text
- `sum`: ll itself, acc of the same harness

A mean per character or token is small, so that its softmax is flat: it ranks the options well, but an entropy near
ln n does not say that the model is unsure. Only `sum` is what the model would give each text, were there no others.

The options sum to 1, so nothing is invalid or unexplored, and the entropy is exact. Without worked examples and without
a chat template the prompt ends in the cue: the trace is the model's own answer in a line, no reasoning, and the only
probe is the one before it. With worked examples or a chat template the model reasons first, and each step is probed.
A trace counts by the leading option of its last probe, not by what it states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from localent.errors import UsageError
from localent.records import Choice, Extraction, Probe, Problem
from localent.tasks.identity import problem_id
from localent.tasks.kinds import labels
from localent.tasks.kinds.choice import ChoiceKind
from localent.tasks.kinds.cues import LINE, Cue
from localent.tasks.kinds.grammar import Grammar
from localent.tasks.kinds.kind import Clause, Worked
from localent.tasks.text import Found

SCORES = ("character", "token", "sum")
METHOD = "option text"  # how the answer of such a trace is read


class OptionTextKind(ChoiceKind):
    """One of a problem's options, by its text. The stored answer is its label, as for every choice."""

    name = "option text"
    form = "choice"
    lists_options = False
    instruction = (
        'Reason step by step, one step per line. Then write a last line that begins with "Answer:" and gives the '
        "answer in a few words."
    )
    statement = "Answer:"
    cues = (Cue("label", "Answer:", LINE),)

    def fits(self, answer: str, choices: Sequence[Choice]) -> bool:
        """Never: a run's settings ask for this kind, not the data."""
        return False

    def stated(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        """The label of the option that the clause names, else its own words: the model has not seen the options."""
        found = labels.by_text(clause.text, clause.begin, clause.end, choices, "answer text")
        words = clause.text[clause.begin : clause.end].strip()
        return found or (Found(words, clause.begin, clause.end, "answer text") if words else None)

    def named(self, clause: Clause, choices: Sequence[Choice]) -> Found | None:
        return None

    def heads_solution(self, clause: Clause, found: Found) -> bool:
        return False

    def last(self, text: str, begin: int, choices: Sequence[Choice]) -> Found | None:
        return None

    def grammar(self, pieces: Sequence[bytes], choices: Sequence[Choice]) -> Grammar:
        raise TypeError("option texts are scored whole (OptionTexts), they have no grammar")

    def ending(self, problem: Problem) -> str:
        """The answer line of a worked example."""
        return f"{self.statement} {text_of_option(problem, problem.answer)}"

    def _example(self, index: int, worked: Worked) -> Problem:
        choices = self._choices(worked)
        bare = Problem(
            problem_id(worked.question, worked.answer, choices), str(index), worked.question, worked.answer, choices
        )
        return with_solution(bare, worked.solution)


OPTION_TEXT = OptionTextKind()


@dataclass(frozen=True, slots=True)
class OptionTexts:
    """The options of one problem, as the tokens that follow the cue."""

    labels: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]  # of " " + text, for each option
    n_characters: tuple[int, ...]  # of each text, without that blank
    score: str  # one of SCORES
    before: int  # the last token of the prompt: what precedes the options where there is no cue

    kind: ClassVar[str] = OptionTextKind.name

    @property
    def longest(self) -> int:
        """Tokens of the longest option."""
        return max(map(len, self.tokens))

    def log_probs(self, log_likelihoods: Sequence[float]) -> npt.NDArray[np.float64]:
        """Log-softmax of the scores of the options: (n_options,) nats -> (n_options,)."""
        per = {"sum": 1, "token": [len(t) for t in self.tokens], "character": self.n_characters}[self.score]
        scores = np.asarray(log_likelihoods, np.float64) / np.asarray(per)
        found: npt.NDArray[np.float64] = scores - np.logaddexp.reduce(scores)
        return found


def options_of(problem: Problem, score: str, before: int, tokenize: Callable[[str], Sequence[int]]) -> OptionTexts:
    """The options of a problem. tokenize: text that continues other text. Raises UsageError as `check` does."""
    check(problem)
    return OptionTexts(
        labels=tuple(choice.label for choice in problem.choices),
        tokens=tuple(tuple(tokenize(f" {choice.text.strip()}")) for choice in problem.choices),
        n_characters=tuple(len(choice.text.strip()) for choice in problem.choices),
        score=score,
        before=before,
    )


def check(problem: Problem) -> None:
    """Raise UsageError for an option that is empty, or says the same as another."""
    seen: dict[str, str] = {}
    for choice in problem.choices:
        text = " ".join(choice.text.split())
        if not text:
            raise UsageError(
                f"Problem {problem.source_id} has no text for option {choice.label}: fill it in, or run with "
                "--answer-by letter."
            )
        if text in seen:
            raise UsageError(
                f"Problem {problem.source_id} has the same text {text[:40]!r} for options {seen[text]} and "
                f"{choice.label}: change one, or run with --answer-by letter."
            )
        seen[text] = choice.label


def are_texts(problems: Sequence[Problem]) -> bool:
    """True if options say something beyond their labels."""
    return any(choice.text and choice.text != choice.label for problem in problems for choice in problem.choices)


def leading(probes: Sequence[Probe], problem: Problem) -> Extraction:
    """The answer of a trace: the leading option of its last probe."""
    leader = probes[-1].leader if probes else None
    if leader is None:
        return Extraction(None, None, "none", "no option is more likely than the others" if probes else "not probed")
    return Extraction(leader, text_of_option(problem, leader), METHOD, None)


def text_of_option(problem: Problem, label: str) -> str:
    """The text of the option with this label."""
    return next(choice.text for choice in problem.choices if choice.label == label)


def with_solution(problem: Problem, steps: str) -> Problem:
    """The problem with these steps as its worked solution, which ends in the text of the true option."""
    return replace(problem, solution=f"{steps.strip()}\n{OPTION_TEXT.ending(problem)}")
