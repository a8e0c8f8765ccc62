"""What a candidate model changes beside its reference: distributions, answers, reasoning paths.

Four views, each in a room: `forced` (the same tokens through both), `running` (both run free, paired), `prefixes` (the
same prefixes put to both), `noise` (the reference against itself). `whole` puts a comparison together.
"""

from localent.compare.whole import (
    Candidate,
    Comparison,
    Plan,
    Progress,
    Report,
    compare_base,
    compare_run,
    compare_task,
    compare_text,
)

__all__ = ["Candidate", "Comparison", "Plan", "Progress", "Report"]
__all__ += ["compare_base", "compare_run", "compare_task", "compare_text"]
