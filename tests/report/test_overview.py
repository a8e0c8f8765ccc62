"""The short form of a comparison: verdict first, a row per file, and what fits which width."""

import csv
import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from localent.analysis import divergence, pairs, prefixes, quantities
from localent.analysis.pairs import Pair
from localent.analysis.prefixes import Prefix
from localent.compare import Candidate, Comparison
from localent.records import Model, Speed
from localent.report import overview, table
from localent.report.card import card


def model(name, quant="Q4_K_M", n_bytes=1_117_320_768, sha="a" * 64):
    return Model(
        sha, "inner name", f"/home/me/{name}", "llama", quant, 1_500_000_000, n_bytes, 4.96, {}, 9, 512, "", None
    )


def forced(mean, seed=0, problems=None):
    rng = np.random.default_rng(seed)
    n = 400
    side = {name: rng.exponential(size=n) for name in ("surprisal", "entropy", "varentropy", "margin")}
    mine = {name: values * (1 + mean) for name, values in side.items()}
    mine |= {name: rng.exponential(mean, n) for name in ("kld", "kld_cut", "kld_reverse", "jsd", "tv")}
    mine["same_top"] = (rng.random(n) > mean).astype(float)
    return divergence.teacher_forced(side, mine, cut=problems is None, problems=problems, depth=np.arange(n) + 256)


def free(lost, won, n=40):
    flags = [(True, False)] * lost + [(False, True)] * won + [(True, True)] * (n - lost - won)
    return pairs.free_running([Pair(f"p{i}", f, ("1", "1"), ([1], [1, 2])) for i, f in enumerate(flags)])


def path():
    return prefixes.trajectory([
        Prefix(i, f"p{i}", t, (2.0 - t, 2.1 - t), (0.5, 0.5), ("1", "1")) for i in range(12) for t in (0.0, 0.5, 1.0)
    ])  # fmt: skip


SPEED = Speed(1234.5, 12.3)


def on_text(*names):
    found = tuple(
        Candidate(model(name, sha=str(i) * 64), forced(10.0 ** (i - 4), i), multiples={"Mean KLD": 12.5}, speed=SPEED)
        for i, name in enumerate(names)
    )
    return Comparison(model("big-f16.gguf", "F16"), "text", "wiki.txt", 40, found, None, speed=SPEED)


def on_task(*names):
    problems = np.repeat([f"p{i}" for i in range(40)], 10)
    found = tuple(
        Candidate(model(name, sha=str(i) * 64), forced(0.01, i, problems), free(3, 1), path(), speed=SPEED)
        for i, name in enumerate(names)
    )
    return Comparison(model("big-f16.gguf", "F16"), "run", "b45c6ca7ea06", 40, found, None, speed=SPEED)


LONG = "qwen2.5-coder-1.5b-instruct-a-long-name-of-a-publisher-"


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("make", [on_text, on_task])
@pytest.mark.parametrize("stem", ["m-", LONG])
def test_the_table_fits_the_terminal_with_names_of_any_length(make, width, stem):
    text = overview.render(make(f"{stem}q8_0.gguf", f"{stem}q4_k_m.gguf"), width)
    assert max(map(len, text.splitlines())) <= width
    assert f"{stem}q4_k_m.gguf" in text
    assert "inner name" not in text


def test_a_hundred_columns_hold_every_column_of_a_task():
    """On 80, what does not fit is left out: the answer entropy first, never the KLD."""
    wide, narrow = (overview.render(on_task("m-q8_0.gguf"), width) for width in (100, 60))
    for head in ("MB", "tok/s", "PPL", "KLD, nats", "same", "right, %", "answer", "length"):
        assert re.search(rf"^file.*{head}", wide, re.MULTILINE), head
    assert not re.search(r"^file.*answer", narrow, re.MULTILINE)
    assert re.search(r"^file.*KLD, nats", narrow, re.MULTILINE)


def test_the_verdict_comes_before_the_table():
    text = overview.render(on_text("a.gguf", "b.gguf"), 100)
    assert text.index("a.gguf is closest") < text.index("\nfile ")
    assert "Both differ from the reference" in text


@pytest.mark.parametrize("make", [on_text, on_task])
def test_the_markdown_table_has_nine_columns_at_most_and_equal_rows(make):
    text = table.table(*overview.markdown(make("a|b.gguf", "c.gguf")), markdown=True, max_width=None)
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    assert {len(row) for row in cells} == {len(cells[0])}
    assert len(cells[0]) <= 9
    assert len(cells) == 2 + 3  # head, rule, reference and two candidates


def test_a_cell_says_what_the_figures_say():
    c = on_task("a.gguf")
    head, (reference, mine) = overview.markdown(c)
    found = dict(zip(head, mine, strict=True))
    kld = c.candidates[0].forced["Mean KLD"]
    value, low, high = map(float, re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", found["KLD, nats"]).groups())
    assert (value, low, high) == pytest.approx((kld.value, kld.low, kld.high), abs=6e-5)
    assert found["accuracy, % (lost, won)"] == "95.0 (-3 +1)" or found["accuracy, % (lost, won)"] == "92.5 (-3 +1)"
    assert dict(zip(head, reference, strict=True))["accuracy, % (lost, won)"] == "97.5"
    assert found["tok/s in (out)"] == "1,234 (12)"
    assert found["answer entropy (change)"] == "1.60 (+0.100)"
    assert found["length"] == "2.00×"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (2.34e-4, "2.3e-4"), (-1.2e-7, "-1.2e-7"), (0.00397, "0.0040"), (0.0234, "0.0234"), (0.2345, "0.234")],
)
def test_small_numbers_keep_two_or_three_digits(value, text):
    assert overview.small(value) == text


def test_csv_has_every_figure_and_reads_back():
    c = on_task("a.gguf", "b.gguf")
    rows = list(csv.DictReader(io.StringIO("\n".join(table.csv_lines(*overview.full_rows(c))))))
    assert [row["file"] for row in rows] == ["big-f16.gguf", "a.gguf", "b.gguf"]
    for row, one in zip(rows[1:], c.candidates, strict=True):
        for figure in one.forced.figures:
            if math.isfinite(figure.value):
                assert float(row[figure.name]) == figure.value
        assert float(row["accuracy"]) == one.free.accuracy_candidate.value
        assert int(row["right_to_wrong"]) == 3


def test_files_of_one_name_are_told_apart_by_their_hash():
    c = on_text("a.gguf", "a.gguf")
    assert c.names == ["a.gguf 000000", "a.gguf 111111"]
    same = replace(c, candidates=(c.candidates[0], c.candidates[0]))
    assert same.names == ["a.gguf", "a.gguf"]


def test_the_card_names_no_folder_of_this_machine_and_says_how_to_repeat_it():
    text = card(on_task("a.gguf"), ["localent", "compare", "big-f16.gguf", "a.gguf", "--task", "gsm8k"])
    assert "/home/me" not in text
    assert "localent compare big-f16.gguf a.gguf --task gsm8k" in text
    assert text.startswith("## ")
    assert "| file" in text
    assert "--full" not in text


def test_depths_are_ranges_of_equal_width_whose_means_make_the_whole():
    found = forced(0.05)
    assert [group.name for group in found.depths][:2] == ["256-305", "306-355"]
    assert sum(group.n for group in found.depths) == found.n
    total = sum(group.n * group.kld.value for group in found.depths)
    assert total / found.n == pytest.approx(found[quantities.KLD.key].value)
    assert [name for name, _ in divergence.depths(np.array([5, 6, 6, 9]))] == ["5-5", "6-6", "9-9"]
