"""What a candidate model changes beside its reference: distributions, answers, reasoning paths.

`ontext` and `onruns` put a comparison together. Four views, each in a room: `forced` (the same tokens through both, by
`scoring` as a plan says), `running` (both run free, paired), `prefixes` (the same prefixes put to both), `noise` (the
reference against itself).
"""

from localent.compare.comparison import Candidate, Comparison, Plan
from localent.compare.on_text import compare_base, compare_text
from localent.compare.on_traces import compare_run, compare_task

__all__ = ["Candidate", "Comparison", "Plan"]
__all__ += ["compare_base", "compare_run", "compare_task", "compare_text"]
