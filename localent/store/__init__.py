"""The store: one SQLite file that holds every run, and the only package that speaks SQL.

What one row means:

- `models`: one GGUF file, known by the sha256 of its content
- `tasks`: one named set of problems; `problems`: one question with its true answer, in one task
- `runs`: one model x task x settings, known by a hash of all of that
- `attempts`: how many attempts at one problem were asked for of a run
- `sessions`: one invocation that worked on a run; the only table with times of day and host names
- `traces`: one attempt of a run at a problem, with sums over its tokens; `origins`: the session that made it
- `tokens`: one generated token of a trace; `alternatives`: one of the most likely tokens there;
  `steps`: one reasoning step, or the statement of the answer
- `probes`: the answer distribution after the first k steps of a trace, of a control in their place, or by rollouts;
  `answers`: one answer in it
- `comparisons`: one candidate model compared with a reference; `divergences`: one scored position of it, on request
- `checks`: one finding of `localent doctor` about the machine of a session
- `calibrations`: a map from a signal of a run's traces to the probability of being right
- `verdicts`: one claim about one model, judged by a study

Views, the public interface: `trace_summary` (a row per trace), `step_entropy` (per probe), `run_summary` (per run).
Two databases with the same runs are equal row by row except for `sessions` and `origins`, in any order of finishing.
Deleting a row of `runs` (with `pragma foreign_keys = on`) deletes all that belongs to it.
"""

from localent.store.db import Database, open_db
from localent.store.read_only import select

__all__ = ["Database", "open_db", "select"]
