"""Does it reason by gathering information? Runs, controls, and the claims of SIA with their verdicts."""

from localent.study.study import (
    STORED,
    Agreement,
    OtherSeed,
    Study,
    Subject,
    agreement,
    analyse,
    family,
    keep,
    other_seeds,
    study,
    study_id,
)

__all__ = ["STORED", "Agreement", "OtherSeed", "Study", "Subject", "agreement", "analyse", "family", "keep"]
__all__ += ["other_seeds", "study", "study_id"]
