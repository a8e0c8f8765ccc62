"""Does it reason by gathering information? Runs, controls, and the claims of SIA with their verdicts."""

from localent.study.study import *  # noqa: F403
from localent.study.study import _gain_of, study  # noqa: F401
