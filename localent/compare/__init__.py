"""What a candidate model changes beside its reference: distributions, answers, reasoning paths.

`on_text` and `on_traces` choose what is read, a `text` each; `teacher_forcing` feeds it to all models and notes every
position, `scoring` does so as a `plan` says, beside the noise floor; `free_running` and `prefixes` compare answers.
`result` puts the views together, `verdict` says what can be told apart, `stored` writes it and reads it back.
"""

from localent.compare.on_text import compare_base, compare_text
from localent.compare.on_traces import compare_run, compare_task
from localent.compare.plan import Plan
from localent.compare.result import Candidate, Comparison

__all__ = ["Candidate", "Comparison", "Plan"]
__all__ += ["compare_base", "compare_run", "compare_task", "compare_text"]
