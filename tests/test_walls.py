"""The walls of the house: who may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import localent.engine.llama

PACKAGE = Path(__file__).parent.parent / "localent"


def imports_of(path):
    """Top-level names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def full_names_of(path):
    """What a file imports, in full: "package.module.name"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_that_import(*names):
    files = PACKAGE.rglob("*.py")
    return {str(p.relative_to(PACKAGE)) for p in files if set(names) & set(imports_of(p))}


def test_llama_cpp_is_imported_in_one_module():
    assert rooms_that_import("llama_cpp") == {"engine/llama/bindings.py"}


def test_the_bindings_are_spoken_to_in_one_room():
    """C's names, structs and pointers stay inside; from outside one sees what the package names itself."""
    outside = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        if "engine/llama/" not in path.as_posix()
        for name in full_names_of(path)
        if name.startswith("localent.engine.llama.")
    }
    named = {f"localent.engine.llama.{name}" for name in localent.engine.llama.__all__}
    assert {text for text in outside if text.partition(": ")[2] not in named} == set()


def test_sqlite_is_imported_in_the_store_only():
    rooms = rooms_that_import("sqlite3", "sqlite_utils")
    assert rooms
    assert all(room.startswith("store/") for room in rooms)


def test_only_the_command_line_prints():
    assert all(room.startswith("cli/") for room in rooms_that_import("click", "tqdm"))
    printing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert all(room.startswith("cli/") for room in printing)


def test_sql_is_spoken_in_the_store_only():
    """SQL in the command line would be a second home for what a row means. Help texts may show queries."""
    speaking = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"execute", "executemany", "executescript"}
    }
    assert all(room.startswith("store/") for room in speaking)


def test_help_does_not_wait_for_heavy_packages():
    heavy = {"llama_cpp", "numpy", "scipy", "matplotlib", "gguf"}
    code = f"import localent.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
