"""The walls of the house as data: each room, what lives there, and what it may import.

`tests/test_walls.py` holds the package against it, and CONTRIBUTING.md shows it. After a change, write it there with

    .venv/bin/python tests/helpers/house.py
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "localent"
BEGIN, END = "<!-- rooms -->\n", "<!-- end rooms -->\n"


@dataclass(frozen=True, slots=True)
class Room:
    """A module or folder of the package: the rooms and the packages that it may import, the standard library aside."""

    holds: str
    rooms: str = ""
    packages: str = ""


# Lowest first: a room knows only rooms above its own line.
ROOMS = {
    "errors": Room("the exceptions that a user meets"),
    "records": Room("the frozen records that travel between rooms"),
    "lists": Room("models.toml and tasks.toml: where they lie, and how they are read", "errors"),
    "measure": Room(
        "entropy and divergence of next-token distributions, the meter that reads rows, sampling", "errors", "numpy"
    ),
    "stopping": Room("rules that end a trace early, from its probes until then", "errors records", "numpy"),
    "files": Room(
        "GGUF headers, identities and tensors, importance matrices, base files, the cache",
        "errors records",
        "gguf numpy",
    ),
    "engine": Room(
        "`open()`: weights, lanes, scorers; the scheduler; llama.cpp; the scripted fake",
        "errors records files",
        "llama_cpp numpy",
    ),
    "machine": Room("cores, memory, GPUs; what fits; what doctor found", "errors records files engine"),
    "tasks": Room(
        "problems, loaders, prompts, templates, steps, grading; `kinds/`: one file per answer kind",
        "errors records lists measure files",
        "jinja2 math_verify numpy pyarrow",
    ),
    "tracing": Room(
        "coroutines that work in one lane: generate, probe, attempt, controls, rollout, given text",
        "errors records measure stopping engine tasks",
        "numpy",
    ),
    "store": Room(
        "schema, migrations, writer, views, read-only queries, exports",
        "errors records",
        "duckdb numpy pandas pyarrow sqlite3 sqlite_utils",
    ),
    "models": Room(
        "names to files: models.toml, disk, hub, data sets",
        "errors records lists files engine machine tasks",
        "huggingface_hub",
    ),
    "runs": Room(
        "the session that every command opens, run identity and settings; run, extend, gold, text, ask, quantize",
        "errors records measure stopping files engine machine tasks tracing store models",
        "numpy",
    ),
    "cluster": Room(
        "one run on the workers of a dask cluster: they make traces, one client writes them",
        "errors records engine tasks store models runs",
        "dask distributed",
    ),
    "analysis": Room(
        "arrays to metrics: scores, intervals, claims, signals, policies; `load` alone reads the store",
        "errors records stopping tasks store",
        "numpy scipy",
    ),
    "compare": Room(
        "quantization: teacher forcing on text and traces, free running, the noise floor, verdicts",
        "errors records measure files engine machine tasks tracing store models runs analysis",
        "numpy",
    ),
    "study": Room(
        "models × tasks: subjects, verdicts on each claim, other seeds, the demo",
        "errors records tasks tracing store models runs analysis compare",
        "numpy",
    ),
    "doctor": Room(
        "checks of this machine, build and model", "errors records measure files engine machine models", "numpy"
    ),
    "report": Room(
        "results as terminal text, tables, figures and the page",
        "errors records stopping store analysis compare study",
        "datasette jinja2 markupsafe matplotlib numpy",
    ),
    "view": Room(
        "the page over HTTP on this machine, following runs while they work",
        "errors records store runs analysis report",
        "numpy starlette uvicorn",
    ),
    "cli": Room(
        "the commands; the only place that prints",
        "errors records measure stopping files engine machine tasks tracing store models runs analysis compare study"
        " doctor report cluster view",
        "click tqdm",
    ),
}


def room_of(path: Path) -> str:
    """The room that a file of the package stands in: "analysis", or "errors" for errors.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports_of(source: str) -> Iterator[str]:
    """Full names of everything that a module imports, wherever in it: "localent.store.Database"."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: expected an absolute import, got a relative one")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(source: str, room: str) -> list[str]:
    """The imports of a module that its room may not have."""
    return [name for name in imports_of(source) if not _allowed(name, room)]


def _allowed(name: str, room: str) -> bool:
    top, _, rest = name.partition(".")
    if top == "localent":
        target = rest.split(".")[0]
        return target in {"", room, "__version__", *ROOMS[room].rooms.split()}
    outside = {package for other in ROOMS.values() for package in other.packages.split()}
    if top in sys.stdlib_module_names and top not in outside:
        return True
    return top in ROOMS[room].packages.split()


def table() -> str:
    """The table of rooms as Markdown."""
    lines = ["| room | holds | may import | packages |", "|---|---|---|---|"]
    for name, room in ROOMS.items():
        rooms = "every room" if name == "cli" else room.rooms.replace(" ", ", ")
        lines.append(f"| `{name}` | {room.holds} | {rooms} | {room.packages.replace(' ', ', ')} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    contributing = ROOT / "CONTRIBUTING.md"
    contributing.write_text(with_table(contributing.read_text("utf-8")), "utf-8")
