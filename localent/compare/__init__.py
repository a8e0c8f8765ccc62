"""Comparison of candidate models with a reference: next-token distributions, answers, reasoning traces.

`on_text` and `on_traces` choose what both models read, one `text` at a time. `teacher_forcing` feeds it to all models
and records every position; `scoring` does so as a `plan` says and measures the noise floor. `free_running` and
`prefixes` compare answers, `on_runs` the traces of stored runs. `result` collects the figures, `verdict` judges them,
`stored` writes them to the database and reads them back.
"""

from localent.compare.by_bytes import ByBytes, Coded, compare_bytes
from localent.compare.choose import Choice, Limits, OnTask, OnText, choose
from localent.compare.compatible import OtherTokensError
from localent.compare.on_runs import BesideRun, RunsCompared, TracePair, are_runs, compare_runs
from localent.compare.on_text import compare_base, compare_text
from localent.compare.on_traces import Attempts, RunTraces, compare_run, compare_task, make_part
from localent.compare.plan import Cache, Plan
from localent.compare.result import Candidate, Comparison

__all__ = ["Attempts", "Cache", "Candidate", "Comparison", "Plan", "RunTraces"]
__all__ += ["ByBytes", "Coded", "OtherTokensError", "compare_bytes"]
__all__ += ["Choice", "Limits", "OnTask", "OnText", "choose"]
__all__ += ["compare_base", "compare_run", "compare_task", "compare_text", "make_part"]
__all__ += ["BesideRun", "RunsCompared", "TracePair", "are_runs", "compare_runs"]
