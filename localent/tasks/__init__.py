"""Problems: where they come from, how a model is asked, what it answered, and how its text falls into steps."""

from localent.records import text_of
from localent.tasks.columns import Columns
from localent.tasks.grade import answer_start, extract, grade, is_answered
from localent.tasks.kinds import CHOICE, NUMBER, OPTION_TEXT, Kind
from localent.tasks.load import BUNDLED, Task, load
from localent.tasks.named import Known, known
from localent.tasks.numbers import normalise_number
from localent.tasks.observed import worked
from localent.tasks.prompt import PromptOptions, PromptText, Segment, cue_after, render
from localent.tasks.steps import ends_step, of_trace, split, to_token_steps
from localent.tasks.thought import ThoughtFormat

__all__ = [
    "BUNDLED",
    "CHOICE",
    "NUMBER",
    "OPTION_TEXT",
    "Columns",
    "Kind",
    "Known",
    "PromptOptions",
    "PromptText",
    "Segment",
    "Task",
    "ThoughtFormat",
    "answer_start",
    "cue_after",
    "ends_step",
    "extract",
    "grade",
    "is_answered",
    "known",
    "load",
    "normalise_number",
    "of_trace",
    "render",
    "split",
    "text_of",
    "to_token_steps",
    "worked",
]
