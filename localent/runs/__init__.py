"""Runs: a model, a task and settings, from a name to rows in the store.

`session` is the one prologue of every command that runs a model; `identity`, `settings` and `room` say what a run is,
`questions` what is asked; `clock` how long it may take. `run` is the main job; `extend` adds probes to stored traces;
`gold` reads worked solutions; `text` plain text; `ask` one question that is not stored; `quantize` makes the files to
compare.
"""

from localent.runs.progress import Listener, Outcome, Progress, Report, Status
from localent.runs.run import run
from localent.runs.settings import DEFAULTS, Settings, settings_of

__all__ = ["DEFAULTS", "Listener", "Outcome", "Progress", "Report", "Settings", "Status", "run", "settings_of"]
