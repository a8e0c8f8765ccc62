"""The choice among quants: what fits, the closest, what is open; on a text, on a task, on prompts without answers."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import coverage_choose
import numpy as np
import pytest
from click.testing import CliRunner

from localent import compare, tasks
from localent.analysis.sequential import Standing
from localent.cli import main
from localent.cli.choose import Bytes
from localent.cli.compare import _files
from localent.cli.fail_on import Condition
from localent.compare import Limits, OnTask, OnText, Plan
from localent.compare.choose import prompts
from localent.compare.positions import joined
from localent.compare.racing import Race
from localent.compare.teacher_forcing import Feeding, score
from localent.compare.text import Text
from localent.engine import QuantizeOptions, quantize
from localent.errors import LocalentError, UsageError
from localent.files.header import read_header
from localent.models import in_folders
from localent.models.disk import needed_bytes
from localent.report import choice as report
from localent.runs import Settings
from localent.store import open_db

GOLDEN = Path(__file__).parents[1] / "data" / "perplexity"
MODEL, TEXT = GOLDEN / "tiny-f16.gguf", GOLDEN / "text.txt"
PLAN = Plan(ctx=64, threads=1)
ON = OnText(path=TEXT, n=14)


@pytest.fixture(scope="module")
def quants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quants")
    for quant in ("Q8_0", "Q5_0", "Q4_0"):
        quantize(MODEL, folder / f"tiny-{quant}.gguf", quant, QuantizeOptions(n_threads=1))
    return folder


def chosen(quants, tmp_path, **how):
    names = sorted(map(str, quants.glob("*.gguf")))
    return compare.choose(names, ON, db=tmp_path / "c.db", plan=PLAN, **{"reference": str(MODEL)} | how)


def needs(path):
    return needed_bytes(read_header(path), path.stat().st_size, 1, 256)


def test_the_closest_of_those_that_fit_is_named_as_soon_as_it_is_clear(quants, tmp_path):
    found = chosen(quants, tmp_path)
    assert (found.name, found.open, found.left_out) == ("tiny-Q8_0.gguf", (), ())
    assert (found.n_texts, found.n_most) == (10, 14)
    said = report.sentences(found)
    assert said[0].startswith("Run tiny-Q8_0.gguf: of the 3 files that fit it is the closest to tiny-f16.gguf, KLD ")
    assert "decided after 10 of 14 chunks" in said[0]
    assert "tiny-Q4_0.gguf" in report.render(found)


def test_files_beyond_the_memory_are_left_out_with_what_they_need(quants, tmp_path):
    room = needs(quants / "tiny-Q8_0.gguf") - 1
    found = chosen(quants, tmp_path, limits=Limits(memory=room, ctx=256))
    assert found.name == "tiny-Q5_0.gguf"
    assert found.left_out == ("tiny-Q8_0.gguf needs 0.00 GB with a context of 256 tokens.",)
    one = chosen(quants, tmp_path, limits=Limits(memory=needs(quants / "tiny-Q4_0.gguf"), ctx=256))
    assert (one.name, one.comparison) == ("tiny-Q4_0.gguf", None)
    assert "no other file fits" in report.sentences(one)[0]
    with pytest.raises(LocalentError, match=r"^No file fits: tiny-Q8_0\.gguf needs"):
        chosen(quants, tmp_path, limits=Limits(memory=1000))
    with pytest.raises(LocalentError, match=r"writes .* tokens per second here"):
        chosen(quants, tmp_path, limits=Limits(min_speed=1e9))


def test_the_reference_is_chosen_where_it_fits_and_was_not_set_apart(quants, tmp_path):
    found = chosen(quants, tmp_path, reference=None)
    assert (found.name, found.is_reference, found.comparison) == ("tiny-Q8_0.gguf", True, None)


def test_files_that_are_alike_are_left_open(quants, tmp_path):
    folder = tmp_path / "twins"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(quants / "tiny-Q4_0.gguf", folder / f"{name}.gguf")
    found = chosen(folder, tmp_path)
    assert (found.n_texts, len(found.open)) == (14, 1)
    assert "may be as close" in " ".join(report.sentences(found))


def test_a_file_that_is_told_apart_reads_no_further(quants, tmp_path):
    """Twins stay open to the end; the one that is worse is out after the first look, with the figures of it."""
    folder = tmp_path / "three"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(quants / "tiny-Q8_0.gguf", folder / f"{name}.gguf")
    shutil.copy(quants / "tiny-Q4_0.gguf", folder / "worse.gguf")
    found = chosen(folder, tmp_path)
    assert (found.n_texts, found.open) == (14, ("b.gguf",))
    assert [one.n_texts for one in found.comparison.candidates] == [14, 14, 10]
    alone = compare.choose(
        [str(folder / "worse.gguf"), str(folder / "a.gguf")],
        replace(ON, n=10),
        db=tmp_path / "d.db",
        plan=PLAN,
        reference=str(MODEL),
    )
    assert found.comparison.candidates[2].forced == alone.comparison.candidates[1].forced
    said = " ".join(report.sentences(found))
    assert "worse.gguf was told apart after 10 chunks and read no more: its figures are of those." in said
    with open_db(tmp_path / "c.db", readonly=True) as store:
        assert sorted(row["n_texts"] for row in store.comparisons()) == [10, 14]  # twins are one file to the database


def test_files_of_another_model_are_refused(quants, tmp_path, bundled):
    with pytest.raises(LocalentError, match="their tokenizers are different"):
        compare.choose([str(quants / "tiny-Q4_0.gguf"), str(bundled)], ON, db=tmp_path / "c.db", plan=PLAN)


def test_a_task_gives_answers_of_the_file_in_front(bundled, tmp_path):
    for quant in ("Q8_0", "Q2_K"):
        quantize(bundled, tmp_path / f"m-{quant}.gguf", quant, QuantizeOptions(n_threads=1))
    settings = Settings(lanes=4, threads=1, max_tokens=40, probe=False)
    on = OnTask(task=tasks.load("demo-number"), n=10, settings=settings)
    names = [str(tmp_path / f"m-{quant}.gguf") for quant in ("Q8_0", "Q2_K")]
    plan = Plan(threads=1, noise=False)
    found = compare.choose(names, on, reference=str(bundled), db=tmp_path / "c.db", plan=plan)
    assert found.name == "m-Q8_0.gguf"
    front, other = found.comparison.candidates
    assert front.free.n == 10
    assert other.free is None
    ungraded = compare.choose(names, replace(on, graded=False), reference=str(bundled), db=tmp_path / "c.db", plan=plan)
    shown = report.render(ungraded)
    assert "right, %" not in shown
    assert "answer, %" in shown
    assert "accuracy" not in " ".join(report.sentences(ungraded))


def test_prompts_of_ones_own_are_problems_without_an_answer(tmp_path):
    (tmp_path / "mine.txt").write_text("How far?\n\nHow much?\nHow far?\n")
    task = prompts(tmp_path / "mine.txt")
    assert [(p.question, p.answer) for p in task.problems] == [("How far?", ""), ("How much?", "")]
    assert (task.instruction, task.shots) == ("", 0)
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(UsageError, match="has no prompts"):
        prompts(tmp_path / "none.txt")


def test_the_command_line_names_a_file_and_fails_on_demand(quants, tmp_path):
    command = ["choose", str(quants), "--reference", str(MODEL), "--text", str(TEXT), "-n", "1", "--threads", "1"]
    command += ["--db", str(tmp_path / "c.db")]
    (tmp_path / "long.txt").write_text(TEXT.read_text() * 3)
    command[command.index(str(TEXT))] = str(tmp_path / "long.txt")
    done = CliRunner().invoke(main, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["name"] in found["sentences"][0]
    failed = CliRunner().invoke(main, [*command, "--fail-on", "kld>1e-9", "--fail-on", "accuracy<0.5"])
    assert failed.exit_code == 1
    assert "kld is" in failed.stderr
    assert "accuracy is not known, so accuracy<0.5 cannot be ruled out" in failed.stderr
    assert CliRunner().invoke(main, [*command, "--fail-on", "kld>100"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["m.gguf"], "one of --task, --prompts, --text"),
        (["m.gguf", "--text", "a", "--task", "b"], "got --task and --text"),
        (["m.gguf", "--text", "a", "--memory", "much"], "is not a size such as 6GB"),
        (["m.gguf", "--text", "a", "--fail-on", "worse>1"], "is not a condition such as 'kld>0.05'"),
    ],
)
def test_what_cannot_be_chosen_from_is_one_sentence(arguments, says):
    done = CliRunner().invoke(main, ["choose", *arguments])
    assert (done.exit_code, says in done.output) == (2, True), done.output


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_is_its_models_however_it_is_spelled(quants, slash):
    """And whoever else keeps them: that another program has a file is no reason to leave it out."""
    names = [f"tiny-{quant}.gguf" for quant in ("Q4_0", "Q5_0", "Q8_0")]
    assert [Path(name).name for name in in_folders([f"{quants}{slash}"])] == names
    assert in_folders(["a.gguf"]) == ["a.gguf"]
    done = CliRunner().invoke(main, ["inspect", f"{quants}{slash}"])
    assert (done.exit_code, [name for name in names if name not in done.output]) == (0, [])


def test_compare_takes_a_folder_with_the_largest_of_its_files_first(quants):
    largest_first = [str(quants / f"tiny-{quant}.gguf") for quant in ("Q8_0", "Q5_0", "Q4_0")]
    assert _files((f"{quants}/",)) == tuple(largest_first)
    assert _files((largest_first[1], str(quants))) == (largest_first[1], largest_first[0], largest_first[2])
    assert _files(("a.gguf", "a.gguf")) == ("a.gguf", "a.gguf")


def test_an_empty_folder_is_told(tmp_path):
    done = CliRunner().invoke(main, ["choose", str(tmp_path), "--text", str(TEXT)])
    assert (done.exit_code, "has no GGUF model" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("text", "n"), [("6GB", 6 * 10**9), ("800m", 800 * 10**6), ("1.5 GiB", 1610612736), ("512", 512)]
)
def test_sizes(text, n):
    assert Bytes().convert(text, None, None) == n


def test_conditions():
    assert Condition().convert("kld > 0.05", None, None) == ("kld", ">", 0.05)
    assert Condition().convert("same-top<1e-3", None, None) == ("same-top", "<", 0.001)


class Fake:
    can_keep, name, n_vocab = True, "fake", 8

    def __init__(self, salt):
        self.salt, self.tokens = salt, []

    def keep(self, n):
        del self.tokens[n:]

    def feed(self, tokens, n_rows):
        found = []
        for token in tokens:
            self.tokens.append(token)
            found.append(np.random.default_rng(self.tokens).normal(size=8) + self.salt * np.arange(8))
        return np.array(found[len(found) - n_rows :], np.float32).reshape(n_rows, 8)


HOW = Feeding(chunk=4, n_threads=1)


def test_portions_joined_are_one_pass():
    texts = [Text([1, 2, 3 + i, 4, 5][: 3 + i], first=1, problem=str(i)) for i in range(3)]

    def read(some):
        return score(some, Fake(0.0), [Fake(0.1), Fake(0.2)], HOW)

    whole, parts = read(texts), joined([read(texts[:1]), read(texts[1:])])
    assert np.array_equal(whole.text, parts.text)
    assert np.array_equal(whole.candidates[1]["kld"], parts.candidates[1]["kld"])


def test_files_that_are_out_keep_the_figures_of_what_they_read():
    texts = [Text([1, 2, 3, 4, 5 + i % 3], first=1, problem=str(i)) for i in range(4)]
    whole = score(texts, Fake(0.0), [Fake(0.1), Fake(0.2)], HOW)
    race = Race(2)
    race.add(texts[:3], score(texts[:3], Fake(0.0), [Fake(0.1), Fake(0.2)], HOW))
    race.standing = Standing(0, (None, 0.001), (0.01, 0.01))
    race.add(texts[3:], score(texts[3:], Fake(0.0), [Fake(0.1)], HOW))
    assert (race.racing, race.by_length()) == ((0,), [(4, [0]), (3, [1])])
    for i, n in enumerate((4, 3)):
        expected = [whole.candidates[i]["kld"][whole.text == j].sum() for j in range(n)]
        assert race.klds(i) == pytest.approx(expected)
    assert race.figures(1)["Mean KLD"].value == pytest.approx(whole.candidates[1]["kld"][whole.text < 3].mean())
    assert race.multiples() == pytest.approx((1.0, race.klds(1).sum() / race.klds(0)[:3].sum()))


def test_the_rule_is_tried_on_the_texts_of_a_stored_comparison(quants, tmp_path, capsys, monkeypatch):
    db = tmp_path / "c.db"
    plan = Plan(ctx=64, threads=1, noise=False, positions=True)
    done = compare.compare_text([str(MODEL), *sorted(map(str, quants.glob("*.gguf")))], TEXT, db=db, plan=plan)
    names, found = coverage_choose.measured(db)
    assert sorted(names) == sorted(one.model.file for one in done.candidates)
    n = done.candidates[0].forced.n
    for one in done.candidates:
        mean = found[:, names.index(one.model.file)].sum() / n
        assert mean == pytest.approx(one.forced["Mean KLD"].value, abs=1e-6)
    monkeypatch.setattr(sys, "argv", ["coverage_choose.py", "--db", str(db), "--worlds", "5"])
    coverage_choose.main()
    assert f"5 orders of {done.n_texts} texts: " in capsys.readouterr().out
