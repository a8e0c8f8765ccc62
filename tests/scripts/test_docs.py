"""The documentation is true: every command is in it with today's help and an example, and the tutorial runs."""

from __future__ import annotations

import re
import shlex

import pytest

import docs
from localent.cli import main

README, COMMANDS = (page.read_text("utf-8") for page in docs.PAGES[:2])
PAGES = (docs.ROOT / "README.md", *sorted((docs.ROOT / "docs").rglob("*.md")))
SHELL = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |^<!-- end session)", COMMANDS, re.DOTALL | re.MULTILINE))
OUTPUT = re.compile(r"<!-- output ?\d* -->\n```text\n(.*?)```\n<!-- end -->", re.DOTALL)
AGAIN = "run 'scripts/docs.py docs/commands.md'"


def calls(code: str) -> list[list[str]]:
    """The words of each `localent` command in shell code, up to what follows in the shell."""
    lines = re.sub(r"\$\w+", "1", code.replace("\\\n", " "))
    inner = re.findall(r"\$\((localent [^()|]*)", lines)
    lines = "\n".join([re.sub(r"\$\([^()]*\)", "1", lines), *inner])
    found = re.findall(r"(?:^|; do )localent ((?:\"[^\"]*\"|[^\"\n|>;#])*)", lines, re.MULTILINE)
    return [shlex.split(call) for call in found]


def examples_in_help() -> list[list[str]]:
    texts = (re.sub(r"^ +", "", command.help, flags=re.MULTILINE) for command in main.commands.values())
    return [words for text in texts for words in calls(text)]


def examples_in_pages() -> list[list[str]]:
    """Every call in a shell block of any page, run or not, once."""
    blocks = (found for page in PAGES for found in SHELL.finditer(page.read_text("utf-8")))
    found = (words for block in blocks for words in calls(re.sub(rf"^{block[1]}", "", block[2], flags=re.MULTILINE)))
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


def test_every_command_is_documented_in_its_own_section():
    assert sorted(SECTIONS) == sorted(main.commands)


@pytest.mark.parametrize("name", main.commands)
def test_a_section_has_the_help_of_today_and_an_example_with_its_output(name):
    section = SECTIONS[name]
    assert f"<!-- help {name} -->\n```\n{docs.help_of(name)}\n```\n<!-- end -->" in section, AGAIN
    assert [words for words in calls(section) if words[0] == name]
    assert all(output.strip() for output in OUTPUT.findall(section))
    assert len(OUTPUT.findall(section)) == section.count("<!-- output"), AGAIN


@pytest.mark.parametrize("words", examples_in_help() + examples_in_pages(), ids=" ".join)
def test_an_example_is_a_command_that_exists_with_options_that_exist(words):
    main.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("name", ["sql", "schema"])
def test_output_that_no_model_has_a_part_in_is_of_today(name, tmp_path):
    """The list of queries; the explanations of tables."""
    from localent.store import open_db

    open_db(tmp_path / "numbers.db").close()
    code = {"sql": "localent sql --queries\n", "schema": "localent schema --db numbers.db\n"}[name]
    assert docs.run("sh", code, tmp_path) in SECTIONS[name], AGAIN


def test_the_tutorial_runs_as_written(tmp_path):
    """Every block of the README's session, in order, in an empty folder; each that promises output has some."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'localent[plot]'")
    now = docs.updated(README, tmp_path)
    assert all(output.strip() for output in OUTPUT.findall(now))
    assert len(OUTPUT.findall(now)) == README.count("<!-- output") >= 6
    assert {"localent.db", "report.html", "gain.pdf"} <= {path.name for path in tmp_path.iterdir()}
    assert [code for _, code in docs.blocks(now)] == [code for _, code in docs.blocks(README)]


PAGE = """before
<!-- session -->
```sh
echo one > file
```

```python
print(open("file").read(), end="two\\nthree\\n")
```

<!-- output 2 -->
old
<!-- end -->
<!-- end session -->
after
```sh
never run
```
"""


def test_output_takes_the_place_of_the_old_and_nothing_else_changes(tmp_path):
    now = docs.updated(PAGE, tmp_path)
    assert now == PAGE.replace("old\n", "```text\none\ntwo\n…\n```\n")
    assert docs.updated(now, tmp_path) == now


def test_a_block_that_fails_ends_it(tmp_path):
    with pytest.raises(SystemExit, match="code 3"):
        docs.updated(PAGE.replace("echo one", "exit 3"), tmp_path)


def test_times_and_folders_are_masked(tmp_path):
    code = f'echo "2026-11-27T13:45:07.342283Z {tmp_path}/a.db {docs.ROOT}/b  "\n'
    assert docs.run("sh", code, tmp_path) == "2026-01-31T12:00:00.000000Z ./a.db ~/localent/b"
