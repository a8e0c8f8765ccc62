"""The site: pages insert sections of other files, tables come from the code, and mkdocs builds it without a warning."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields

import docs_site
import docs_tables
import pytest

import docs
import localent
from localent import records
from localent.cli import main

PAGES = sorted((docs.ROOT / "docs").rglob("*.md"))
TEXT = """# Title

Lead with [a page](docs/real.md#here), [code](localent/measure) and ![a picture](docs/real/trace.svg).

## One thing

First.

```sh
# no heading
[not a link](docs/real.md)
```

### Below it

## Other
"""


def rows(page: str, heading: str) -> list[str]:
    """The first cells, without backticks, of the first table under a heading of a page of docs/."""
    part = (docs.ROOT / "docs" / page).read_text("utf-8").partition(f"## {heading}\n")[2]
    table = re.search(r"^\|.*\n\|[-| ]+\n((?:\|.*\n)+)", part, re.MULTILINE)
    return [line.split("|")[1].strip(" `") for line in table[1].splitlines()]


# ── sections ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_section_ends_at_the_next_heading_of_its_level_and_the_title_at_any():
    assert docs_site.section(TEXT, "one-thing").endswith("### Below it")
    assert "# no heading" in docs_site.section(TEXT, "one-thing")
    assert docs_site.section(TEXT, "title").startswith("Lead")
    assert "One" not in docs_site.section(TEXT, "title")
    assert docs_site.section(TEXT, None).endswith("## Other")


def test_a_section_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="No section '#gone'"):
        docs_site.section(TEXT, "gone")


def test_links_fit_the_page_and_those_to_other_files_are_text(tmp_path, monkeypatch):
    monkeypatch.setattr(docs_site, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(TEXT)
    made = docs_site.fit_for_site("# Page\n\n[Title](../../README.md#title)\n", "docs/howto/page.md")
    assert made.endswith("Lead with [a page](../real.md#here), code and ![a picture](../real/trace.svg).\n")
    assert "[not a link](docs/real.md)" in docs_site.fit_for_site("[x](../README.md#one-thing)", "docs/page.md")


def test_a_link_within_a_sentence_stays_a_link():
    text = "See [the changes](../CHANGELOG.md)."
    assert docs_site.fit_for_site(text, "docs/page.md") == "See [the changes](changes.md)."


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_inserted_section_is_there(page):
    text = page.read_text("utf-8")
    made = docs_site.fit_for_site(text, page.relative_to(docs.ROOT).as_posix())
    assert not docs_site.INSERT.search(made)
    assert len(made) > len(text) or not docs_site.INSERT.search(text)


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", ["numbers", "columns"])
def test_the_tables_are_those_of_the_code(page):
    text = (docs.ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert docs.TABLE.search(text)
    assert docs.with_tables(text) == text, f"run 'scripts/docs.py docs/{page}.md'"


def test_each_table_is_used():
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    assert {name for _, name in re.findall(r"(<!-- table (\w+) -->)", pages)} == set(docs_tables.TABLES)


def test_every_measure_of_a_token_and_every_number_of_a_probe_is_explained():
    assert sorted(rows("numbers.md", "One token")) == sorted((*records.MEASURES, *records.TOP_K_MEASURES))
    told = {field.name for field in fields(records.Distribution)} - {"answers"}
    assert set(rows("numbers.md", "One probe")) == told


def test_a_definition_has_its_source_and_nothing_of_errors():
    def kl_of(p: float) -> float:
        """KL in nats: (n,) -> (n,). Raises: an error.

        Source: Kullback and Leibler (1951).
        """
        return p

    assert docs_tables.definition(kl_of) == ("`kl_of`", "KL in nats: (n,) -> (n,).", "Kullback and Leibler (1951)")


def test_the_python_page_has_the_whole_api():
    text = (docs.ROOT / "docs" / "api.md").read_text("utf-8")
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)", text, re.MULTILINE)}
    assert set(localent._HOMES) <= shown


# ── the whole ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(900)  # six seconds of computing, on a machine that has them
def test_mkdocs_builds_the_site_strictly_and_it_fetches_nothing(tmp_path):
    """No warning: every link, anchor and documented name is there. No page asks another server for anything."""
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'localent[docs]'")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install 'localent[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=docs.ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = [page.read_text("utf-8") for page in tmp_path.rglob("*.html")]
    assert len(pages) > len(PAGES)
    loaded = [tag for page in pages for tag in re.findall(r"<(?:script|img|link|iframe)\b[^>]*>", page)]
    assert not [tag for tag in loaded if re.search(r"(?:src|href)=\"(?:https?:)?//", tag)]


@pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")  # of click-man's own making
def test_a_manual_page_is_made_for_every_command(tmp_path):
    """As docs/install.md says, by click-man."""
    made = pytest.importorskip("click_man.core", reason="click-man is not installed: pip install click-man")
    made.write_man_pages("localent", main, version=localent.__version__, target_dir=str(tmp_path))
    assert {page.name for page in tmp_path.iterdir()} == {
        "localent.1",
        *(f"localent-{name}.1" for name in main.commands),
    }
    assert "\\-\\-no\\-probe" in (tmp_path / "localent-run.1").read_text("utf-8").replace("\\fB", "")


def test_the_notebook_is_that_of_its_script_and_was_run():
    """Every cell as scripts/notebook.py has it, each run without an error, and no folder of a machine in it."""
    import notebook

    text = notebook.TARGET.read_text("utf-8")
    cells = json.loads(text)["cells"]
    told = [cell for cell in cells if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]) for cell in told] == [code for is_code, code in notebook.CELLS if is_code]
    assert [cell["execution_count"] for cell in told] == list(range(1, len(told) + 1))
    kinds = {output["output_type"] for cell in told for output in cell["outputs"]}
    assert "execute_result" in kinds
    assert "error" not in kinds
    assert str(docs.ROOT) not in text
    assert "/tmp/" not in text
