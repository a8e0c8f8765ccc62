"""The problems of a task as questions to one model: prompt, cue, and the grammar of the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from localent import tasks
from localent.engine import Vocab
from localent.records import Choice, Problem
from localent.runs.settings import Settings
from localent.tasks.kinds import Grammar
from localent.tracing.attempt import Question
from localent.tracing.prompt_tokens import continued, prompt_tokens


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a task for one model."""

    task: tasks.Task
    own_template: str | None  # the chat template of its file
    vocab: Vocab
    settings: Settings

    @property
    def template(self) -> str | None:
        """The chat template that the prompts are made with; None: there is none."""
        return self.settings.chat_template or self.own_template

    def text(self, problem: Problem) -> tasks.PromptText:
        """The prompt of a problem, before it is tokenized."""
        options = tasks.PromptOptions(
            template=self.template,
            shots=self.settings.shots,
            seed=self.settings.seed,
            system=self.settings.system,
            variables=self.vocab.variables,
            chosen=self.settings.template_vars or {},
        )
        return tasks.render(self.task, problem, options)

    def questions(self, problems: Iterable[Problem]) -> Iterator[Question]:
        """Each problem with its prompt, its cue and the grammar of its answers; without probes there is no grammar."""
        grammars: dict[tuple[str, ...], Grammar] = {}
        for problem in problems:
            labels = tuple(choice.label for choice in problem.choices)
            if self.settings.probe and labels not in grammars:
                grammars[labels] = self.task.kind.grammar(self.vocab.pieces, problem.choices)
            yield self._question(problem, grammars.get(labels))

    def digest(self) -> str:
        """Hash of the prompt of a placeholder problem: template, instruction, worked examples, cue, stops."""
        choices = (Choice("A", "?"), Choice("B", "?")) if self.task.problems[0].choices else ()
        text = self.text(Problem("", "", "?", "0", choices))
        usual = replace(text.thought, opened=False) == tasks.ThoughtFormat()  # then the id is that of earlier versions
        hashed = (text, self.task.kind.cue) if usual else (text, self.task.kind.cue, text.thought)
        return hashlib.sha256(repr(hashed).encode()).hexdigest()[:16]

    @property
    def n_shots(self) -> int:
        """Worked examples in each prompt."""
        default = 0 if self.template else self.task.shots
        return default if self.settings.shots is None else self.settings.shots

    def _question(self, problem: Problem, grammar: Grammar | None) -> Question:
        text = self.text(problem)

        def cue(written: str) -> list[int]:
            segments = tasks.cue_after(text, written)
            return [t for s in segments for t in continued(s.text, self.vocab, special=s.parse_special)]

        return Question(
            problem=problem,
            prompt=prompt_tokens(text, self.vocab),
            cue=cue,
            grammar=grammar,
            stops=text.stops,
            thought=text.thought,
        )
