"""One run from a name to rows in the store, and what is added to a run that is there."""

from localent.runs.run import *  # noqa: F403
from localent.runs.run import Outcome, Progress, Report, run
from localent.runs.settings import Settings

__all__ = ["Outcome", "Progress", "Report", "Settings", "run"]
