"""The walls of the house: who may import what."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from helpers.house import PACKAGE, ROOMS, ROOT, imports_of, room_of, violations, with_table

import localent.engine

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in ROOMS)
INNER = [path for path in FILES if room_of(path) != "cli"]


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


def calls(path):
    """(function name, attribute or plain) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", None) or getattr(node.func, "attr", None)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_room_imports_only_what_the_table_allows(path):
    assert violations(path.read_text(), room_of(path)) == []


def test_every_room_is_in_the_table_and_nothing_else_lies_at_the_top():
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert folders | modules == set(ROOMS)
    assert modules == {"errors", "records"}  # everything else has a room of its own


def test_the_table_only_points_down():
    for i, (name, room) in enumerate(ROOMS.items()):
        assert set(room.rooms.split()) <= set(list(ROOMS)[:i]), name


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("measure", "from localent.report import table"),
        ("measure", "import localent.records"),
        ("measure", "def f():\n    from localent.store import open_db"),
        ("analysis", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from localent.runs import run"),
        ("analysis", "import sqlite3"),
        ("runs", "import click"),
        ("compare", "import llama_cpp"),
        ("tasks", "from localent import engine"),
    ],
)
def test_a_forbidden_import_is_seen(room, line):
    assert violations(line, room)


def test_a_backend_is_named_in_its_own_folder_only():
    """Code outside opens a file with localent.engine.open; so another backend is one more folder."""
    outside = [path for path in FILES if "engine/llama/" not in path.as_posix()]
    found = {relative(path) for path in outside for name in imports_of_(path) if "engine.llama" in name}
    assert found == set()


def test_the_engine_room_is_known_by_its_door():
    """Its modules are its own business: others import names from localent.engine, tests also the scripted fake."""
    doors = {f"localent.engine.{name}" for name in localent.engine.__all__}
    outside = [path for path in FILES if room_of(path) != "engine"]
    named = {f"{relative(p)}: {n}" for p in outside for n in imports_of_(p) if n.startswith("localent.engine.")}
    assert {text for text in named if text.partition(": ")[2] not in doors} == set()


def test_the_door_does_not_wait_for_llama_cpp():
    code = "import localent.engine, sys; print('llama_cpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_rooms_have_no_circle():
    """Module by module, local imports and those for types included."""
    known = {"localent." + relative(path)[:-3].replace("/", ".").removesuffix(".__init__"): path for path in FILES}
    graph = {}
    for name, path in known.items():
        wanted = {next((m for m in (full, full.rpartition(".")[0]) if m in known), None) for full in imports_of_(path)}
        graph[name] = wanted - {None, name, *_parents(name)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def imports_of_(path):
    return list(imports_of(path.read_text()))


def _parents(name):
    """The packages that a module is in: their __init__ gathers names, and Python runs it first in any case."""
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


def test_llama_cpp_is_imported_in_one_file():
    found = {relative(path) for path in FILES for name in imports_of_(path) if name.split(".")[0] == "llama_cpp"}
    assert found == {"engine/llama/bindings.py"}


def test_one_file_of_the_analysis_reads_the_store():
    of_analysis = [path for path in FILES if room_of(path) == "analysis"]
    found = {relative(path) for path in of_analysis for name in imports_of_(path) if name.startswith("localent.store")}
    assert found == {"analysis/load.py"}


@pytest.mark.parametrize("path", INNER, ids=relative)
def test_only_the_command_line_prints(path):
    assert "print" not in set(calls(path))


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) != "store"], ids=relative)
def test_sql_is_spoken_in_the_store_only(path):
    """SQL in the command line would be a second home for what a row means. Help texts may show queries."""
    assert not {"execute", "executemany", "executescript"} & set(calls(path))


def test_contributing_shows_the_table():
    """After a change of the table: .venv/bin/python tests/helpers/house.py"""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert page == with_table(page)


def test_help_does_not_wait_for_heavy_packages():
    heavy = {"llama_cpp", "numpy", "scipy", "matplotlib", "gguf"}
    code = f"import localent.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
