"""docs/notebook.ipynb: an example notebook, executed. Its cells are here, its outputs from a run on a bundled model.

    pip install nbclient ipykernel matplotlib pandas
    python scripts/notebook.py

The notebook runs in an empty folder. Folders of this machine are masked, and cells keep no time of execution.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "notebook.ipynb"
TEXT = r"""# %% [markdown]
# localent in a notebook

Made by `scripts/notebook.py`, on the bundled model. `dir(localent)` lists the functions; records show themselves.
# %%
import localent
from localent import Settings

dir(localent)
# %% [markdown]
## One question

A trace shows itself: tokens coloured by their entropy (more on hover), and the answer that the model would give after
each step.
# %%
settings = Settings(threads=1, seed=0)
question = "Mia had 12 books and bought 7 more. How many books did she have then?"
localent.ask("abacus-sft", question, answer="19", settings=settings)
# %% [markdown]
## A run

Of a task, here one that is bundled; `localent.load("mine", "mine.csv")` reads a file of your own.
# %%
task = localent.load("demo-number")
settings = Settings(threads=1, lanes=16)
outcome = localent.run("abacus-sft", task.first(40), db="runs.db", settings=settings)
db = localent.open_db("runs.db")
db
# %% [markdown]
## Frames

Columns come as pandas frames where pandas is installed. `localent.select` takes any SQL that reads.
# %%
traces = db.traces_frame(outcome.run_id, ["correct", "n_tokens", "mean_entropy", "answer_entropy_half"])
traces.groupby("correct").mean()
# %%
probes = db.probes_frame(outcome.run_id, ["k", "entropy", "p_true", "correct"])
probes[probes["k"] <= 3].groupby(["correct", "k"])[["entropy", "p_true"]].mean().round(3)
# %% [markdown]
## A figure

The same figures as `localent plot`.
# %%
%matplotlib inline
localent.figure(db, "curves", [outcome.run_id])
# %% [markdown]
## A trace of the run

The wrong trace that was most certain at its end.
# %%
sql = "select trace_id from trace_summary where not correct order by answer_entropy_last"
columns, rows = localent.select("runs.db", sql)
db.trace(next(rows)[0])
# %%
db.close()
"""
CELL = re.compile(r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", re.MULTILINE | re.DOTALL)
CELLS = tuple((not kind, cell.strip("\n")) for kind, cell in CELL.findall(TEXT))  # (is code, text)


def notebook() -> Any:
    """The notebook without outputs."""
    from nbformat import v4

    cells = [v4.new_code_cell(text) if is_code else v4.new_markdown_cell(text) for is_code, text in CELLS]
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    return v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


def executed(folder: Path) -> Any:
    """The notebook with the outputs of a run in that folder."""
    from nbclient import NotebookClient

    os.environ |= {"PYTHONPATH": str(ROOT), "LOCALENT_CACHE": str(folder / "cache")}
    made = notebook()
    client = NotebookClient(made, timeout=600, kernel_name="python3", record_timing=False)
    client.execute(cwd=str(folder))
    return made


def told_once(made: Any) -> Any:
    """Without the plain text of what is shown as HTML or as a picture: it repeats that, with addresses in memory."""
    shown = [output["data"] for cell in made["cells"] for output in cell.get("outputs", ()) if "data" in output]
    for data in shown:
        if len(data) > 1:
            data.pop("text/plain", None)
    return made


def main() -> None:
    """Run it and write the file."""
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        made = told_once(executed(Path(folder)))
        text = nbformat.writes(made).replace(folder, ".").replace(str(ROOT), "localent")
    TARGET.write_text(text + "\n", "utf-8")
    print(TARGET.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
