"""Does a model gather information as it reasons? Runs, controls, and verdicts on the claims of SIA.

`making` makes what is missing, in the time there is, and `forecast` says how long that takes; `subjects` reads one run
and computes its figures; `study` judges the claims; `seeds` finds the same study under other seeds; `demo` is the tour
of the bundled models.
"""

from localent.study.seeds import STORED, OtherSeed, other_seeds, study_id
from localent.study.study import Design, Study, analyse, family, keep, part, study
from localent.study.subjects import Agreement, ModelRun, Subject, agreement

__all__ = ["STORED", "Agreement", "Design", "ModelRun", "OtherSeed", "Study", "Subject", "agreement", "analyse"]
__all__ += ["family", "keep", "other_seeds", "part", "study", "study_id"]
