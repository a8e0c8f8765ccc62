"""The importance of steps: against pairs counted one by one, in a null world, and where a step decides."""

import math

import numpy as np
import pytest
from helpers import stored
from helpers.runs import call

from localent.engine import Prompt, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Problem
from localent.report import importance as report
from localent.store import open_db
from localent.store.traces import importance, importance_of_run
from localent.tasks import NUMBER
from localent.tracing.attempt import Question
from localent.tracing.controls import Written
from localent.tracing.generate import Limits
from localent.tracing.rollout import Rollouts, continuations, parts, rollout_probe, rollouts_of

ANSWERS = np.array(["18", "3", "7", None], object)
RUN = stored.RUN.run_id


def filled(path, *draws):
    """A trace with rollouts after steps 0, 1, ...: draws are their answers. Returns its importance by step."""
    with stored.filled(path) as db:
        db.add_trace(RUN, stored.a_trace())
        ((trace_id,),) = stored.sql(path, "select trace_id from traces")
        probes = [rollout_probe(k, 2, 2 * k, values, "18", 0) for k, values in enumerate(draws)]
        db.add_probes(RUN, trace_id, probes)
        return importance(db, trace_id)


def drawn(rng, shares, m):
    return ANSWERS[rng.choice(4, size=m, p=shares)].tolist()


def pairs(before, after):
    """(U + V) / 2 - W, pair by pair: "no answer" is an answer."""

    def equal(a, b, same):
        found = [x == y for i, x in enumerate(a) for j, y in enumerate(b) if not (same and i == j)]
        return sum(found) / len(found)

    return (equal(before, before, True) + equal(after, after, True)) / 2 - equal(before, after, False)


def test_the_shift_is_that_of_pairs_of_continuations(tmp_path):
    rng = np.random.default_rng(0)
    laws = (((0.4, 0.3, 0.2, 0.1), 16), ((0.7, 0.1, 0.0, 0.2), 24), ((1, 0, 0, 0), 16))
    for i in range(5):
        sides = [drawn(rng, shares, m) for shares, m in laws]
        found = filled(tmp_path / f"{i}.db", *sides)
        assert [one.k for one in found] == [1, 2]
        for one, before, after in zip(found, sides, sides[1:], strict=False):
            p, q = (side.count("18") / len(side) for side in (before, after))
            assert one.shift == pytest.approx(pairs(before, after))
            assert one.p_true_change == pytest.approx(q - p)
            near = [(side.count("18") + 1) / (len(side) + 2) for side in (before, after)]
            var = sum(x * (1 - x) * (len(s) + 2) / len(s) ** 2 for x, s in zip(near, (before, after), strict=True))
            assert one.p_true_change_se == pytest.approx(math.sqrt(var))
            assert (one.first_k, one.n_before, one.n_after) == (one.k, len(before), len(after))


def test_steps_that_were_not_rolled_out_are_taken_together(tmp_path):
    path = tmp_path / "a.db"
    with stored.filled(path) as db:
        db.add_trace(RUN, stored.a_trace())
        ((trace_id,),) = stored.sql(path, "select trace_id from traces")
        db.add_probes(RUN, trace_id, [rollout_probe(k, 2, 0, ["18"] * 16, "18", 0) for k in (0, 2)])
        (one,) = importance(db, trace_id)
    assert (one.first_k, one.k, one.shift, one.shift_se, one.p_true_change) == (1, 2, 0.0, 0.0, 0.0)
    assert one.step_text == "€\n"


def test_the_view_the_run_and_the_trace_tell_the_same(tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "a.db"
    of_trace = filled(path, *(drawn(rng, (0.4, 0.3, 0.2, 0.1), 16) for _ in range(3)))
    with open_db(path) as db:
        assert importance_of_run(db, RUN[:4]) == of_trace
        columns = db.query("select k, shift, shift_se, p_true_change, model from step_importance order by k")
    told = [(row["k"], row["shift"], row["shift_se"]) for row in columns]
    assert told == [(one.k, one.shift, one.shift_se) for one in of_trace]
    assert columns[0]["model"] == "demo"


def test_controls_and_probes_are_no_rollouts(tmp_path):
    with stored.filled(tmp_path / "a.db") as db:
        db.add_trace(RUN, stored.a_trace())
        assert importance_of_run(db, RUN) == []


def formula(before, after):
    """Shift and standard error of counts (n, n_answers), as the view computes them."""
    m, n = before.sum(-1), after.sum(-1)
    p, q = before / m[..., None], after / n[..., None]
    p2, p3, q2, q3 = (p**2).sum(-1), (p**3).sum(-1), (q**2).sum(-1), (q**3).sum(-1)
    pq, pq2, p2q = (p * q).sum(-1), (p * q * q).sum(-1), (p * p * q).sum(-1)
    u, v = (m * p2 - 1) / (m - 1), (n * q2 - 1) / (n - 1)
    var_u = (4 * (m - 2) * (p3 - p2**2) + 2 * (p2 - p2**2)) / (m * (m - 1))
    var_v = (4 * (n - 2) * (q3 - q2**2) + 2 * (q2 - q2**2)) / (n * (n - 1))
    var_w = (pq2 - pq**2) / m + (p2q - pq**2) / n + (pq - pq2 - p2q + pq**2) / (m * n)
    cov = 2 * (p2q - p2 * pq) / m + 2 * (pq2 - q2 * pq) / n
    return (u + v) / 2 - pq, np.sqrt(np.maximum((var_u + var_v) / 4 + var_w - cov, 0))


def test_the_view_computes_this_formula(tmp_path):
    rng = np.random.default_rng(2)
    sides = [drawn(rng, (0.4, 0.3, 0.2, 0.1), 16), drawn(rng, (0.1, 0.5, 0.3, 0.1), 24)]
    (one,) = filled(tmp_path / "a.db", *sides)
    shift, se = formula(*(np.array([[side.count(a) for a in ANSWERS]]) for side in sides))
    assert (one.shift, one.shift_se) == pytest.approx((shift[0], se[0]))


@pytest.mark.parametrize("m", [16, 32, 64])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.25,) * 4, (0.05,) * 20, (0.9, 0.1), (0.97, 0.03)])
def test_a_step_that_says_nothing_has_an_importance_around_0(m, shares):
    """Null world: the same distribution on both sides. The interval lies above 0 in no more than 2.5 % of steps."""
    rng = np.random.default_rng(3)
    before, after = rng.multinomial(m, shares, 4000), rng.multinomial(m, shares, 4000)
    shift, se = formula(before, after)
    assert abs(shift.mean()) < 4 * shift.std() / math.sqrt(4000)
    assert (shift - 1.96 * se > 1e-12).mean() <= 0.025
    assert (shift + 1.96 * se < -1e-12).mean() <= 0.025
    change = (after[:, 0] - before[:, 0]) / m
    near = [(side[:, 0] + 1) / (m + 2) for side in (before, after)]
    p_se = np.sqrt(sum(x * (1 - x) * (m + 2) / m**2 for x in near))
    assert (abs(change) > 1.96 * p_se).mean() <= 0.07  # as Agresti and Caffo's interval, of few counts


@pytest.mark.parametrize(
    ("before", "after"), [((0.5, 0.5), (0.9, 0.1)), ((0.25,) * 4, (0.7, 0.1, 0.1, 0.1)), ((0.9, 0.1), (0.1, 0.9))]
)
def test_the_error_of_a_planted_shift_is_the_one_that_is_stated(before, after):
    truth, rng = sum((a - b) ** 2 for a, b in zip(before, after, strict=True)) / 2, np.random.default_rng(4)
    shift, se = formula(rng.multinomial(64, before, 6000), rng.multinomial(64, after, 6000))
    assert shift.mean() == pytest.approx(truth, abs=4 * shift.std() / math.sqrt(6000))
    assert math.sqrt((se**2).mean()) == pytest.approx(shift.std(), rel=0.05)
    assert ((shift - 1.96 * se <= truth) & (truth <= shift + 1.96 * se)).mean() > 0.91


# --- on a model -----------------------------------------------------------------------------------------------------

PIECES = [b"", b"?", b"Hm, let me see.\n", b"So it is five.\n", b"The answer is ", b"5", b"4"]
END, ASK, EMPTY, DECIDES, CUE, FIVE, FOUR = range(len(PIECES))
VOCAB = ScriptedVocab(PIECES, eog=frozenset([END]))


def logits(tokens):
    """Two steps at even odds, then an answer: 5 nearly always after the step that decides, else as often 4."""
    n, probs = sum(t in (EMPTY, DECIDES) for t in tokens), np.zeros(len(PIECES))
    if tokens[-1] in (FIVE, FOUR):
        probs[END] = 1
    elif tokens[-1] == CUE:
        probs[FIVE] = 0.98 if DECIDES in tokens else 0.4
        probs[FOUR] = 1 - probs[FIVE]
    elif n == 2:
        probs[CUE] = 1
    else:
        probs[EMPTY], probs[DECIDES] = (0.8, 0.2) if n else (1, 0)
    with np.errstate(divide="ignore"):
        return np.log(probs)


def test_the_step_that_decides_is_found_and_the_empty_one_is_not(tmp_path):
    """The first step is always the same, so that writing it anew changes nothing; the second says the answer."""
    own = Written(1, "p", 0, True, (EMPTY, DECIDES, CUE, FIVE, END), (0, 1, 2))
    question = Question(Problem("p", "1", "q", "18"), Prompt([ASK]), lambda written: [CUE], None)
    how = Rollouts(64, Sampler(1.0), 0, Limits(8), NUMBER)

    def job(part):
        return part, (yield from continuations(question, own, part, how, VOCAB, Meter(len(PIECES))))

    ended = {}
    for part, done in drive(ScriptedEngine(VOCAB, logits, n_lanes=3), map(job, parts((0, 1, 2), 64))):
        ended.setdefault(part.k, {})[part.js.start] = done
    flat = {k: [one for start in sorted(some) for one in some[start]] for k, some in ended.items()}
    path = tmp_path / "a.db"
    with stored.filled(path) as db:
        db.add_trace(RUN, stored.a_trace())
        ((trace_id,),) = stored.sql(path, "select trace_id from traces")
        db.add_probes(RUN, trace_id, rollouts_of(own, flat, "5", NUMBER))
        empty, decides = importance(db, trace_id)
    assert empty.shift - 1.96 * empty.shift_se <= 0 <= empty.shift + 1.96 * empty.shift_se
    assert abs(empty.p_true_change) <= 1.96 * empty.p_true_change_se
    assert decides.shift - 1.96 * decides.shift_se > 0
    truth = 0.98 - (0.2 * 0.98 + 0.8 * 0.4)
    assert abs(decides.p_true_change - truth) < 4 * decides.p_true_change_se
    assert decides.p_true_change > 1.96 * decides.p_true_change_se
    assert report.counts([empty, decides]) == report.Counts(2, 1, 0, 1)


# --- what is shown --------------------------------------------------------------------------------------------------


def test_show_and_the_command_tell_it(tmp_path):
    path, rng = tmp_path / "a.db", np.random.default_rng(5)
    steps = filled(path, drawn(rng, (0.2, 0.8, 0, 0), 32), drawn(rng, (0.2, 0.8, 0, 0), 32), ["18"] * 32)
    code, out, _ = call("show", steps[0].trace_id, "--db", path)
    assert code == 0
    assert "importance of steps, by rollouts" in out
    assert f"{steps[1].p_true_change:+.2f} ±" in out
    code, out, err = call("importance", RUN, "--db", path)
    assert code == 0, err
    first = next(line for line in out.splitlines() if line.startswith(str(steps[0].trace_id)))
    assert f"{steps[1].p_true_change:+.2f} ± " in first  # the step that matters most
    assert "2 steps of 1 trace: 1 make the true answer likelier, 0 less likely, 1 move" in " ".join(out.split())
    code, out, _ = call("importance", RUN, "--json", "--db", path)
    assert '"p_true_change_se"' in out
    assert '"shift"' in call("show", steps[0].trace_id, "--json", "--db", path)[1]


def test_a_run_without_rollouts_is_told_how_to_make_them(tmp_path):
    path = tmp_path / "a.db"
    stored.filled(path).close()
    code, _, err = call("importance", RUN, "--db", path)
    assert code == 2
    assert "make them with 'localent run MODEL TASK --rollouts 32 --every-step'" in err
