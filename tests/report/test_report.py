"""What a person reads: text in 80 columns whose wording follows the evidence, and tables that keep every value."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from dataclasses import replace
from functools import cache

import pytest
from helpers.simulated import Simulated

from localent.analysis import claims, held, readings
from localent.analysis.intervals import Estimate
from localent.report import chart, table, terminal

# --- the summary --------------------------------------------------------------------------------------------------

GOLDEN = """\
abacus (F16) on sums, run 0123456789ab
24 traces of 24 problems, 2,490 tokens, 24 of them probed at every step

accuracy                            66.7 % [46.7, 82.0]
no answer found                      0.0 % [0.0, 13.8]
truncated at the token limit         0.0 % [0.0, 13.8]

problem steps    accuracy                 traces
            1      75.0 % [30.1, 95.4]         4
            2      75.0 % [30.1, 95.4]         4
            3      83.3 % [43.6, 97.0]         6
            4      33.3 % [6.1, 79.2]          3
            5      50.0 % [18.8, 81.2]         6
            6     100.0 % [20.7, 100.0]        1

entropy, nats                 right                wrong           wrong - right
token mean     0.518 [0.474, 0.583]                0.698    0.180 [0.101, 0.249]
answer at half    1.31 [1.14, 1.53]                 1.80       0.49 [0.26, 0.71]

entropy                       AUROC      AUROC of length          above length's
token mean     0.930 [0.498, 0.989] 0.527 [0.302, 0.769]    0.402 [0.083, 0.632]
answer at half 0.859 [0.573, 0.968] 0.527 [0.302, 0.769]    0.332 [0.128, 0.553]
  equal steps  1.000 [0.676, 1.000] 0.568 [0.267, 0.833]    0.432 [0.138, 0.740]

answer entropy, nats, mean of traces: wrong solid, right dotted
 2.00 ┤⠉⠉⠉⠉⠉⠉⠉⠉⠛⠑⠶⠒⣒⠒⣒⠒⣒⠒⣒⠒⠒⠢⠤⠤⠤⠤⢄⣀⣀⡀
      │                    ⠑ ⠤      ⠈⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠒⠒⠢⠤⠤⠤⠤⠤⠤⠤⠤⠤⢄⣀⣀
      │                        ⠉ ⠒ ⠤ ⡀                             ⠉⠉ wrong
      │                              ⠈ ⠉ ⠑ ⠒ ⠤
 1.00 ┤                                        ⠉ ⠢ ⠤ ⣀
      │                                                ⠉ ⠉ ⠉ ⠉ ⠢
      │                                                          ⢄
      │                                                            ⡄
 0.00 ┤                                                            ⠈  right
      └┴─────────────────────────────┴──────────────────────────────┴
       0                            0.5                             1
                   share of the reasoning steps done

step  right  answer entropy       wrong  answer entropy      p(true)   no answer
   0     16  1.98 [1.93, 2.02]        8  2.00                  0.102       0.100
   1     16  1.10 [0.70, 1.34]        8  1.82                  0.341       0.050
   2     13  0.66 [0.40, 0.91]        7  1.70                  0.436       0.033
   3     10  0.39 [0.12, 0.71]        6  1.59                  0.503       0.025
   4      5  0.41                     5  1.54                  0.426       0.020
   5      4  0.13                     3  1.67                  0.539       0.017
   6      1  0.08                     0  -                     0.900       0.014

Only 8 wrong traces, of 8 problems: too few to say what tells right from wrong
  (10 problems with each are needed).
The reasoning gathers information about the true answer: 1.45 nats [1.00, 1.81]
  by its end, 0.91 [0.57, 1.21] half-way, p = 0.001 after Holm's rule over 11
  claims.

[ ]: 95 % interval, clustered by problem. AUROC: how often a wrong trace scores
  above a right one; 0.5 is chance. Last column: AUROC minus the AUROC of
  length, taken in the direction in which length separates better. Right and
  wrong are known only at the end: both groups are selected on the outcome.
Half-way: after the last step in the first half of a trace's steps. In a trace
  of one step that is its start, where it may look uncertain. Equal steps: only
  pairs of a right and a wrong trace with the same number of steps.
No answer: probability that none follows the cue, mean of traces; the entropy is
  that of the answers given.
Information is that of distributions recalibrated on the other half of the
  problems, so that confidence alone neither gains nor loses any.
"""


@pytest.fixture(scope="module")
def seen():
    """A run with an effect on entropy."""
    return Simulated(entropy_effect=0.15).summary()


def test_golden():
    """The whole text of a small run. Read it through before you change it."""
    small = Simulated(n_problems=24, entropy_effect=0.15, seed=3)
    assert terminal.render(small.summary()) == GOLDEN


VARIANTS = {
    "null": dict(),
    "no trace": dict(n_problems=0),
    "one trace": dict(n_problems=1),
    "few problems": dict(n_problems=3, samples=40),
    "few wrong": dict(n_problems=60, share_wrong=0.04),
    "effect": dict(n_problems=100, entropy_effect=0.3, samples=3),
    "reversed": dict(entropy_effect=-0.04),
    "all right": dict(share_wrong=0.0),
    "not probed": dict(probed=False),
    "length": dict(length_effect=20, by_length=True),
}


@cache
def summary_of(variant: str):
    return Simulated(**VARIANTS[variant]).summary()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("unicode", [True, False])
def test_every_summary_fits_80_columns_of_its_encoding(variant, unicode):
    text = terminal.render(summary_of(variant), unicode=unicode, unit="bits")
    assert max(map(len, text.splitlines())) <= 80
    assert "nan" not in text
    assert "None" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())
    if not unicode:
        text.encode("ascii")


def test_every_heading_of_the_course_is_whole_where_steps_are_probed_and_where_shares_are(seen):
    shares = replace(seen, answers=replace(seen.answers, every_step=False))
    for summary, first in ((seen, "step"), (shares, "done")):
        heading = next(line for line in terminal.render(summary).splitlines() if "p(true)" in line)
        assert heading.split() == [*f"{first} right answer entropy wrong answer entropy p(true) no answer".split()]


def test_bits_are_nats_over_ln_2_and_only_where_asked(seen):
    nats, bits = terminal.render(seen), terminal.render(seen, unit="bits")
    assert "bits" not in nats
    assert "nats" not in bits
    gap = seen.answers.half.gap.value
    assert f"{gap:.2f} nats [" in nats
    assert f"{gap / math.log(2):.2f} bits [" in bits


def test_selection_on_the_outcome_is_named(seen):
    assert "selected on the outcome" in " ".join(terminal.render(seen).split())
    one_class = terminal.render(Simulated(share_wrong=0.0).summary())
    assert "selected on the outcome" not in " ".join(one_class.split())
    assert "all traces are right" in one_class


def test_truncated_traces_are_shown_apart():
    run = Simulated(n_problems=50)
    run.columns[0]["finish"][:5] = ["length"] * 5
    text = terminal.render(run.summary())
    assert "accuracy without truncated traces" in text
    assert "truncated at the token limit        10.0 %" in text
    assert "without truncated" not in terminal.render(Simulated(n_problems=50).summary())


# --- wording ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (Estimate(1.3, 1.1, 1.5), "stay uncertain: half-way their answer entropy is 1.30 nats [1.10, 1.50] above"),
        (Estimate(-1.3, -1.5, -1.1), "are more certain: half-way their answer entropy is 1.30 nats [1.10, 1.50] below"),
    ],
)
def test_the_gap_sentence_follows_the_interval(seen, gap, words):
    half = replace(seen.answers.half, gap=gap)
    assert words in " ".join(terminal.reading(replace(seen, answers=replace(seen.answers, half=half))))


def test_a_gap_that_is_not_shown_is_not_told(seen):
    """Neither where its interval includes 0, nor where the signal does not pass Holm's rule."""
    half = replace(seen.answers.half, gap=Estimate(0.2, -0.1, 0.5))
    assert "stay uncertain" not in " ".join(terminal.reading(replace(seen, answers=replace(seen.answers, half=half))))
    assert "stay uncertain" not in told(seen, "answer_entropy_half", reading=readings.NOT_SHOWN, p_holm=1.0)


def told(summary, key, **changes):
    """The sentences of a summary of which one reading is another."""
    readings = dict(summary.judgement.readings)
    readings[key] = replace(readings[key], **changes)
    return " ".join(terminal.reading(replace(summary, judgement=replace(summary.judgement, readings=readings))))


ENTROPY = "mean token entropy tells wrong traces from right ones: AUROC 0."


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (readings.BEYOND_BOTH, "also with length held fixed (0."),
        (readings.BEYOND_LENGTH, "the question is not held fixed: too few questions have right and wrong traces."),
        (held.LENGTH, "but length explains it: 0."),
        (held.QUESTION, "but the question explains it: "),
        (readings.OPEN_LENGTH, "but not for certain beyond length: 0."),
        (readings.OPEN_QUESTION, "but not for certain beyond the question: "),
    ],
)
def test_the_sentence_on_a_signal_says_its_reading(seen, reading, words):
    found = told(seen, "mean_entropy", reading=reading)
    assert ENTROPY in found
    assert words in found


def test_a_signal_that_holms_rule_does_not_pass_tells_nothing(seen):
    found = told(seen, "mean_entropy", reading=readings.NOT_SHOWN, p_holm=0.2)
    assert ENTROPY not in found
    assert "not told apart: AUROC 0.86 [0.80, 0.90], p = 0.200 after Holm's rule over" in found


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (claims.SUPPORTED, "gathers information about the true answer: 1."),
        (claims.UNDECIDED, "No clear evidence"),
        ("smaller than 0.1 nats a trace", "gathers less than 0.1 nats about the true answer"),
    ],
)
def test_the_gain_sentence_says_the_verdict(seen, verdict, words):
    verdicts = dict(seen.judgement.verdicts)
    for key in ("gain_rises", "gain_rises_pooled"):
        verdicts[key] = replace(verdicts[key], verdict=verdict)
    judged = replace(seen.judgement, verdicts=verdicts)
    assert words in " ".join(terminal.reading(replace(seen, judgement=judged)))


def test_the_pooled_verdict_is_told_where_it_supports_what_the_other_leaves_open(seen):
    verdicts = dict(seen.judgement.verdicts)
    verdicts["gain_rises"] = replace(verdicts["gain_rises"], verdict=claims.UNDECIDED)
    verdicts["gain_rises_pooled"] = replace(verdicts["gain_rises_pooled"], verdict=claims.SUPPORTED)
    judged = replace(seen.judgement, verdicts=verdicts)
    words = " ".join(terminal.reading(replace(seen, judgement=judged)))
    assert "Pooled with the answer distribution before the first step" in words
    assert "true answer: 0.91 nats [0.80, 1.01] per trace, from its first step on" in words
    assert "No clear evidence" not in words


def test_information_that_is_lost_is_said_to_be_lost(seen):
    verdicts, less = dict(seen.judgement.verdicts), Estimate(-1.5, -2.0, -1.0)
    verdicts["gain_rises"] = replace(verdicts["gain_rises"], verdict="smaller than 0.1 nats a trace", effect=less)
    judged = replace(seen.judgement, verdicts=verdicts)
    summary = replace(seen, judgement=judged, answers=replace(seen.answers, gain_end=less))
    assert "leads away from the true answer: -1.50 nats [-2.00, -1.00]" in " ".join(terminal.reading(summary))


def test_a_loss_smaller_than_an_effect_is_not_said_to_lead_away(seen):
    """Three thousandths of a nat: what it costs to judge a recalibration on problems that it has not seen."""
    verdicts, less = dict(seen.judgement.verdicts), Estimate(-0.003, -0.006, -0.001)
    verdicts["gain_rises"] = replace(verdicts["gain_rises"], verdict="smaller than 0.1 nats a trace", effect=less)
    judged = replace(seen.judgement, verdicts=verdicts)
    words = " ".join(terminal.reading(replace(seen, judgement=judged, answers=replace(seen.answers, gain_end=less))))
    assert "leads away" not in words
    assert "gathers less than 0.1 nats" in words


def test_of_few_wrong_traces_nothing_is_told_but_that():
    words = " ".join(terminal.reading(Simulated(n_problems=60, share_wrong=0.04, entropy_effect=0.5).summary()))
    assert "too few to say what tells right from wrong (10 problems with each are needed)" in words
    assert "AUROC" not in words


def test_a_small_class_is_named():
    words = " ".join(terminal.reading(Simulated(n_problems=40).summary()))
    assert "wrong traces: a small sample" in words


# --- the chart ----------------------------------------------------------------------------------------------------


def test_ascii_chart_by_hand():
    """y 2, 1, 0 at x 0, 0.5, 1 falls along the diagonal; the constant 1 lies on the middle row."""
    series = {"wrong": [1, 1, 1], "right": [2, 1, 0]}
    assert chart.line_chart([0, 0.5, 1], series, width=27, height=5, unicode=False) == [
        " 2.00 +rr",
        "      |  rrr",
        " 1.00 +wwwww***wwwww wrong",
        "      |        rrr",
        " 0.00 +           rr right",
        "      ++-----+-----+",
        "       0    0.5    1",
    ]


def test_braille_chart_draws_the_first_series_solid_and_the_second_dotted():
    flat = chart.line_chart([0, 1], {"a": [1, 1], "b": [0.0, 0.0]}, width=20, height=3)
    assert "⠉⠉⠉⠉" in flat[0]
    assert "⣀ ⣀ " in flat[2]


def test_chart_leaves_gaps_where_nothing_is_known_and_labels_apart():
    lines = chart.line_chart([0, 1, 2], {"a": [1, math.nan, 1], "b": [1, 1, 1]}, width=30, height=5)
    labels = [line.split()[-1] for line in lines if line.split()[-1] in "ab"]
    assert sorted(labels) == ["a", "b"]
    assert chart.line_chart([0, 1], {"a": [math.nan, math.nan], "b": [0, 0]}, width=30)


@pytest.mark.parametrize(("highest", "top"), [(0, 1), (0.07, 0.08), (1.0, 1.0), (2.41, 3), (9, 10), (11, 12)])
def test_the_top_of_the_axis_is_round_and_above_all(highest, top):
    assert chart.nice_top(highest) == pytest.approx(top)


def test_which_encodings_can_draw():
    assert chart.can_draw("utf-8")
    assert not any(chart.can_draw(name) for name in ("ascii", "latin-1", "cp1252", None, "no-such-encoding"))


# --- tables -------------------------------------------------------------------------------------------------------

COLUMNS = ["name", "n", "mean"]
ROWS = [("a", 3, 0.5), ("bcd", None, 12.25), (None, 1200, None)]


def test_table_aligns_numbers_right_and_leaves_none_empty():
    assert table.table(COLUMNS, ROWS).splitlines() == [
        "name     n   mean",
        "----  ----  -----",
        "a        3    0.5",
        "bcd         12.25",
        "      1200",
    ]


@pytest.mark.parametrize("markdown", [False, True])
def test_a_table_is_written_as_its_rows_come(markdown):
    """Rows without end: only the first ones are held, for the width of columns."""
    taken = itertools.count()
    rows = ((next(taken) % 7, "x" * 10**6) for _ in itertools.count())
    lines = table.table_lines(["n", "t"], rows, markdown=markdown)
    first = [next(lines) for _ in range(3)]
    assert "…" in first[2]
    assert next(taken) == table.HELD
    later = list(itertools.islice(lines, 2 * table.HELD))
    assert {len(line) for line in later} == {len(first[2])}


def test_a_wide_cell_late_in_a_table_is_whole():
    rows = [("a", 1)] * table.HELD + [("東京" * 20, 2)]
    lines = table.table(["t", "n"], rows).splitlines()
    assert lines[2] == "a  1"
    assert lines[-1] == "東京" * 14 + "東…  2"


def test_markdown_table():
    assert table.table(COLUMNS, [("a|b", 3, 0.5)], markdown=True).splitlines() == [
        "| name |   n | mean |",
        "| ---- | --: | ---: |",
        "| a\\|b |   3 |  0.5 |",
    ]


def test_table_cells_stay_on_one_line_and_send_no_commands_to_the_terminal():
    text = table.table(["x"], [("a\nb\t\x1b[31mred\u202e",), ("ö 東",), (b"\x00\xff",)])
    assert text.splitlines()[2:] == ["a\\nb\\t\\x1b[31mred\\u202e", "ö 東", "00ff"]


def test_long_cells_are_cut_unless_told_not_to():
    long, wide = "x" * 100, "東" * 100
    cut = table.table(["t"], [(long,), (wide,)], max_width=11).splitlines()
    assert cut[2:] == ["x" * 10 + "…", "東" * 5 + "…"]
    assert table.table(["t"], [(long,)], max_width=None).splitlines()[2] == long


def test_columns_line_up_behind_wide_characters():
    lines = table.table(["t", "n"], [("東京", 1), ("ab", 22)]).splitlines()
    assert lines[2:] == ["東京   1", "ab    22"]


def test_table_without_rows_keeps_its_columns():
    assert table.table(["a", "bc"], []).splitlines() == ["a  bc", "-  --"]


def test_csv_comes_back_whole():
    rows = [("a,b", 'say "x"\nnow', 0.1 + 0.2, None), ("", "ö", 3, b"\x01\x02")]
    text = "\n".join(table.csv_lines(list("abcd"), iter(rows)))
    back = list(csv.reader(io.StringIO(text)))
    assert back == [
        list("abcd"),
        ["a,b", 'say "x"\nnow', "0.30000000000000004", ""],
        ["", "ö", "3", "0102"],
    ]


def test_json_lines_come_back_whole():
    rows = [("ö\n", 0.1 + 0.2, None, math.inf), ("", 2**52, b"\x01", -math.inf)]
    back = [json.loads(line) for line in table.json_lines(list("abcd"), iter(rows))]
    assert back[0] == {"a": "ö\n", "b": 0.1 + 0.2, "c": None, "d": "Infinity"}
    assert back[1] == {"a": "", "b": 2**52, "c": "01", "d": "-Infinity"}


def test_json_lines_keep_columns_of_one_name_apart():
    assert list(table.json_lines(["a", "a", "a_2"], [(1, 2, 3)])) == ['{"a": 1, "a_2": 2, "a_2_2": 3}']


def test_lines_come_one_by_one():
    """A reader of a million rows sees the first before the last is fetched."""

    def rows():
        yield (1,)
        raise AssertionError("asked for a second row too early")

    for lines, n in ((table.csv_lines(["a"], rows()), 2), (table.json_lines(["a"], rows()), 1)):
        assert [next(lines) for _ in range(n)][-1] in ("1", '{"a": 1}')
