"""The problems of a task as questions to one model: prompt, cue, and the grammar of the answers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from localent import models, tasks
from localent.engine import Prompt, Vocab
from localent.errors import UsageError
from localent.files.identity import Identity
from localent.records import Choice, Problem
from localent.runs.settings import AUTO, DEFAULTS, LETTER, TEXT, Settings
from localent.tasks.kinds import Grammar
from localent.tasks.kinds.cues import Cue, cue_named
from localent.tasks.kinds.option_text import OptionTexts, are_texts, options_of, text_of_option
from localent.tracing.attempt import Question
from localent.tracing.prompt_tokens import continued, prompt_tokens, space_after

LOG = logging.getLogger("localent")
OF_PROBES = ("cue", "epsilon", "max_fed", "paths", "stop", "stop_from", "probes")  # settings that only probes use
SPENT = "\n\nMy time to think is over, so I answer now.\n"  # ends a thought that has spent its budget


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
            cue=self.cue,
        )
        return tasks.render(self.task, problem, options)

    @property
    def cue(self) -> Cue:
        """The way in which probes ask for the answer."""
        cues = self.task.kind.cues
        return cue_named(cues, self.settings.cue) if self.settings.cue else cues[0]

    def questions(self, problems: Iterable[Problem]) -> Iterator[Question]:
        """Each problem with its prompt, its cue and the grammar of its answers; without probes there is no grammar."""
        grammars: dict[tuple[str, ...], Grammar] = {}
        for problem in problems:
            labels = tuple(choice.label for choice in problem.choices)
            if self.settings.probe and labels not in grammars and not self.by_text:
                grammars[labels] = self.task.kind.grammar(self.vocab.pieces, problem.choices)
            yield self._question(problem, grammars.get(labels))

    @property
    def by_text(self) -> bool:
        """True if options are answered by their text."""
        return self.task.kind is tasks.OPTION_TEXT

    def digest(self) -> str:
        """Hash of the prompt of a placeholder problem: template, instruction, worked examples, cue, stops."""
        choices = (Choice("A", "?"), Choice("B", "?")) if self.task.problems[0].choices else ()
        text = self.text(Problem("", "", "?", "0", choices))
        usual = replace(text.thought, opened=False) == tasks.ThoughtFormat()  # then the id is that of earlier versions
        hashed = (text, self.cue.text) if usual else (text, self.cue.text, text.thought)
        return hashlib.sha256(repr(hashed).encode()).hexdigest()[:16]

    @property
    def n_shots(self) -> int:
        """Worked examples in each prompt."""
        default = 0 if self.template else self.task.shots
        return default if self.settings.shots is None else self.settings.shots

    def _question(self, problem: Problem, grammar: Grammar | None) -> Question:
        text = self.text(problem)
        prompt = prompt_tokens(text, self.vocab)

        def cue(written: str) -> list[int]:
            segments = tasks.cue_after(text, written)
            return [t for s in segments for t in continued(s.text, self.vocab, special=s.parse_special)]

        return Question(
            problem=problem,
            prompt=prompt,
            cue=cue,
            grammar=self._options(problem, prompt) if self.by_text else grammar,
            stops=text.stops,
            thought=text.thought,
            closing=tuple(self._closing(text)) if self.settings.think_budget else (),
            at_once=text.at_once,
            said=lambda answer: continued(text.cue.answered(self._spelled(problem, answer)), self.vocab),
            observations=tuple(self._observations(problem, prompt, at_once=text.at_once)),
        )

    def _spelled(self, problem: Problem, answer: str) -> str:
        """An answer as the model would write it: by text, the option itself."""
        return text_of_option(problem, answer) if self.by_text else answer

    def _observations(self, problem: Problem, prompt: Prompt, *, at_once: bool) -> Iterator[tuple[int, ...]]:
        """The tokens of each line that arrives while the model reasons. Raises UsageError where none can arrive."""
        if problem.observations and at_once:
            raise UsageError(f"{self.task.name} has observations, which arrive between steps: add --answer-by letter.")
        if problem.observations and self.settings.think_budget:
            raise UsageError(f"{self.task.name} has observations, which --think-budget would cut off: leave it out.")
        if problem.observations and self.settings.stop:
            raise UsageError(f"{self.task.name} has observations, which --stop does not work with yet: leave it out.")
        space = space_after(prompt, self.vocab)
        for i, line in enumerate(problem.observations):
            yield tuple(continued(f"{'' if i else space}{line}\n", self.vocab))

    def _closing(self, text: tasks.PromptText) -> list[int]:
        """The tokens that close a thought whose budget is spent, with a message."""
        closing = text.thought.closing + text.thought.answer
        return continued(SPENT, self.vocab) + continued(closing, self.vocab, special=True)

    def _options(self, problem: Problem, prompt: Prompt) -> OptionTexts:
        before = prompt.tokens[-1]
        return options_of(problem, self.settings.option_score, before, lambda text: continued(text, self.vocab))


def with_probes(task: tasks.Task, settings: Settings) -> Settings:
    """The settings as this kind of answer can be probed: without an exact grammar, not at all.

    Logs a warning that says so. Raises UsageError for settings of probes that would do nothing.
    """
    if task.kind.exact or not settings.probe:
        return settings
    usual = replace(settings, **{name: getattr(DEFAULTS, name) for name in OF_PROBES})
    if settings != usual:
        given = [name for name in OF_PROBES if getattr(settings, name) != getattr(DEFAULTS, name)]
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{no_probes(task)} {options} has no effect: leave it out.")
    LOG.warning(
        "%s Traces are made and graded as usual; 'localent run --rollouts 16' samples answers.", no_probes(task)
    )
    return replace(settings, probe=False)


def no_probes(task: tasks.Task) -> str:
    """The sentence on a kind without an exact grammar."""
    return (
        f"{task.name} has answers of the kind {task.kind.name}, which no grammar enumerates: they are not probed, only"
        " rolled out."
    )


def answered_by(task: tasks.Task, header: Identity, settings: Settings) -> tuple[tasks.Task, Settings]:
    """The task as this model is asked it, and the settings that say so: by letter, or by the text of an option.

    `auto`: by text where the model has no chat template, the options are texts, and traces are probed. The bundled
    models and tasks are made for letters. Raises UsageError for settings that do not fit.
    """
    chosen = settings.answer_by if settings.answer_by != AUTO else _fitting(task, header, settings)
    if chosen == LETTER:
        if settings.option_score != DEFAULTS.option_score:
            raise UsageError("--option-score has no effect by letter: leave it out, or add --answer-by text.")
        return task, replace(settings, answer_by=LETTER)
    if not task.problems[0].choices:
        raise UsageError(f"{task.name} has no options to answer by text: leave --answer-by out.")
    if not settings.probe:
        raise UsageError("--answer-by text reads the answer from probes: leave --no-probe out, or answer by letter.")
    return task.by_text() if task.kind is not tasks.OPTION_TEXT else task, replace(settings, answer_by=TEXT)


def _fitting(task: tasks.Task, header: Identity, settings: Settings) -> str:
    bundled = task.name in tasks.BUNDLED or models.is_bundled(header.model)
    texts, template = task.kind is tasks.CHOICE and are_texts(task.problems), settings.chat_template or header.template
    return TEXT if texts and settings.probe and not template and not bundled else LETTER
