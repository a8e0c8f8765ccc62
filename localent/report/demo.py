"""The demo as tables and plain sentences, at most 100 columns wide; the wording follows the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise

from localent.analysis import claims
from localent.analysis.claims import Claim, Verdict
from localent.analysis.family import FAMILY
from localent.analysis.information import RECALIBRATED
from localent.analysis.intervals import Estimate
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import Trajectory
from localent.analysis.quantities import KLD, SAME_TOP, Figure
from localent.analysis.signatures import LOCK
from localent.compare import Candidate, Comparison
from localent.compare.verdict import Aspect, times_noise, verdicts
from localent.records import Model
from localent.report.numbers import number, point, short
from localent.report.science import Table, lock
from localent.study import Study, Subject

MAIN = (
    "The model reasons through each problem step by step. After every step localent computes the distribution of the"
    " answers that it would give now. Answer entropy, in nats, is the spread of that distribution: 0 is certain, 0.69"
    " two equally likely answers, 4.6 a hundred.",
)
STAGES = (
    "The same problems at every stage of training, from one task with numeric answers and one with multiple choice."
    " early: part of pretraining; base: all of it; sft: then fine-tuned on clean solutions; rl: then reinforced on"
    " right answers.",
)
GAIN = (
    "How to read it: gained is the increase of ln p(true answer) since before the first step, in nats, mean of traces:"
    " 0.69 is twice as likely, below 0 less likely. Slope: the same over a whole trace, from a line fitted to all its"
    f" steps. {RECALIBRATED}",
    "[ ]: 95 % interval, clustered by problem.",
)
OUTCOME = (
    "How to read it: AUROC is how often a wrong trace has a higher answer entropy half-way than a right one; 0.5 is"
    " chance; equal steps: only pairs with the same number of steps. Locked in: share of the steps after which the"
    f" answer entropy stays at {LOCK:g} nats or less, median; never: at most half of the traces get there. Wrong later:"
    " Cliff's delta, above 0 where wrong traces lock in later. * Right and wrong are known only at the end.",
)
VERDICTS = (
    "Supported: the whole interval is on the claimed side, and the effect is large enough to matter. Smaller than X:"
    " the whole interval is below X, the least that would matter. Undecided: anything else. All after Holm's rule."
    " 'localent study' adds the controls that such claims need."
)
QUANTED = (
    "The fine-tuned model and six quants of it. First all of them read the same traces, which the unquantized model"
    " wrote; then each of them works on the same problems by itself.",
)
QUANTS = (
    "How to read it: KLD is the mean divergence of the quant's next-token distributions from the reference's on the"
    " same text. x noise: as a multiple of the divergence of the reference from itself when only the size of the calls"
    " changes. Same top: how often both have the same most likely token. Lost, won: problems that only the reference"
    " and that only the quant gets right, both sampling with the same seed.",
)
PREFIXES = (
    "How to read it: answer entropy of each model at the same points of the reference's traces, by share of the steps,"
    " in nats; then the change from reference to quant of that entropy, and of the information gained about the true"
    f" answer. {RECALIBRATED}",
)
SMALL = (
    "All that is tested about a quant is one family at 95 %, by Holm's rule: of twenty quants equal to the reference,"
    " one would be told apart by chance. No detected difference does not mean equal: with {n} problems only large"
    " changes show."
)


# --- stages of training ---------------------------------------------------------------------------------------------


def gain_table(subjects: Iterable[Subject]) -> Table:
    """The stages compared: accuracy, and information gained about the true answer."""
    columns = ["task, stage", "accuracy, %", "gained half-way", "gained by the end", "slope"]
    rows = [
        [name_of(s), share(s.accuracy), *(short(e, 2) for e in (s.gain_half, gain_end(s), s.gain))] for s in subjects
    ]
    return columns, rows


def outcome_table(judged: Study) -> Table:
    """The stages compared: uncertainty and lock-in of right and wrong traces."""
    columns = ["task, stage", "AUROC half-way*", "equal steps*", "locked in: right*", "wrong*", "wrong later*"]
    rows = []
    for s in judged.subjects:
        later = verdict_on(claims.LOCK_IN, judged, s).effect
        separations = [short(e, 2) for e in (s.auroc_half_any, s.auroc_half)]
        rows.append([name_of(s), *separations, lock(s.lock_right), lock(s.lock_wrong), short(later, 2)])
    return columns, rows


def name_of(s: Subject) -> str:
    """ "demo-number, sft"."""
    return f"{s.task.removeprefix('demo-')}, {short_name(s.model)}"


def short_name(model: str) -> str:
    """ "sft" for "abacus-sft"."""
    return model.removeprefix(f"{FAMILY}-")


def gain_end(s: Subject) -> Estimate:
    """Information gained by the end of the reasoning, in nats."""
    return point(s.signatures.gain, -1)


def verdict_on(one: Claim, judged: Study, s: Subject) -> Verdict:
    """The verdict on a claim about one model on one task."""
    return next(v for task, v in judged.verdicts if (task, v.subject, v.key) == (s.task, s.model, one.key))


def _on_gain(judged: Study, s: Subject) -> str:
    found = {v.key: v for task, v in judged.verdicts if (task, v.subject) == (s.task, s.model)}
    verdict = claims.on_gain(found)
    assert verdict is not None  # every subject of a study was probed
    return verdict.verdict


def stage_sentences(judged: Study) -> list[str]:
    """The verdicts on information gain, in words."""
    tasks = dict.fromkeys(s.task for s in judged.subjects)
    return [*(line for task in tasks for line in _gain_sentences(judged, task)), VERDICTS]


def _gain_sentences(judged: Study, task: str) -> Iterator[str]:
    subjects = [s for s in judged.subjects if s.task == task]
    rises = [f"{short_name(s.model)} {_on_gain(judged, s)}" for s in subjects]
    yield f"On {task}, the reasoning gathers information about the true answer: {', '.join(rises)}."
    trained = [v for of, v in judged.verdicts if of == task and v.key == claims.TRAINING.key]
    steps = [f"{' -> '.join(map(short_name, v.subject.split(' -> ')))} {v.verdict}" for v in trained]
    yield f"On {task}, training increases that gain: {', '.join(steps)}."


def stage_records(judged: Study) -> list[dict[str, object]]:
    """The two tables for machines."""
    names = ("task", "model", "run_id", "accuracy", "gain_half", "gain", "auroc_half_any", "auroc_half")
    found = []
    for s in judged.subjects:
        values = {name: getattr(s, name) for name in names} | {"gain_end": gain_end(s)}
        row: dict[str, object] = {name: asdict(v) if isinstance(v, Estimate) else v for name, v in values.items()}
        found.append(row | {"lock_right": lock(s.lock_right), "lock_wrong": lock(s.lock_wrong)})
    return found


# --- quants -----------------------------------------------------------------------------------------------------------


def quant_table(c: Comparison) -> Table:
    """The reference, the noise floor and each quant, a row each: distributions and answers."""
    columns = ["quant", "bits", "KLD, nats", "x noise", "same top, %", "accuracy, %", "lost, won"]
    reference, accuracy = reference_of(c), free_of(c.candidates[0]).accuracy_reference
    first = [reference.quant, f"{reference.bits_per_weight:.2f}", "", "", "", share(accuracy), ""]
    return columns, [first, *(_quant_row(one, name) for one, name in named(c))]


def _quant_row(one: Candidate, name: str) -> list[str]:
    kld, free = one.forced[KLD.key], free_of(one)
    times = (one.multiples or {}).get(KLD.key)
    return [
        name,
        f"{one.model.bits_per_weight:.2f}",
        kld_cell(kld),
        "-" if times is None else times_noise(times),
        f"{100 * one.forced[SAME_TOP.key].value:.2f}",
        share(free.accuracy_candidate),
        f"{free.right_to_wrong}, {free.wrong_to_right}",
    ]


def prefix_table(c: Comparison) -> Table:
    """The same rows: answer entropy along the reference's traces, and its changes."""
    first = trajectory_of(c.candidates[0])
    columns = ["quant", *(f"{100 * t:.0f} %" for t in first.at), "entropy changes by", "information by"]
    rows = [[reference_of(c).quant, *map(_nats, first.entropy_reference), "", ""]]
    for one, name in named(c):
        path = trajectory_of(one)
        rows.append([name, *map(_nats, path.entropy_candidate), short(path.delta_entropy)])
        rows[-1].append(short(path.information_change))
    return columns, rows


def named(c: Comparison) -> Iterator[tuple[Candidate, str]]:
    """The noise floor, then the quants, each with the name of its row."""
    if c.noise:
        yield c.noise, "noise floor"
    yield from ((one, one.model.quant) for one in c.candidates)


def reference_of(c: Comparison) -> Model:
    """The reference model: the demo compares with no base file."""
    assert c.reference is not None
    return c.reference


def free_of(one: Candidate) -> FreeRunning:
    """The free runs, which the demo always makes."""
    assert one.free is not None
    return one.free


def trajectory_of(one: Candidate) -> Trajectory:
    """The answers on the same prefixes, which the demo always probes."""
    assert one.trajectory is not None
    return one.trajectory


def kld_cell(kld: Figure) -> str:
    """Five decimals and the interval; "3.5e-07" where these would be zeros."""
    return f"{kld.value:.1e}" if 0 < kld.value < 1e-5 else number(Estimate(kld.value, kld.low, kld.high), 1.0, 5)


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def share(found: Estimate) -> str:
    """ "41.3 [35.9, 47.0]", in per cent."""
    return number(found, 100.0, 1)


def quant_sentences(c: Comparison) -> list[str]:
    """The findings about the quants."""
    return [order_sentence(c.candidates), *told_apart(c), SMALL.format(n=free_of(c.candidates[0]).n_problems)]


def order_sentence(candidates: Sequence[Candidate]) -> str:
    """A sentence on the order of the quants by bits and by KLD."""
    ordered = sorted(candidates, key=lambda one: -one.model.bits_per_weight)
    klds = [(one.model.quant, one.forced[KLD.key].value) for one in ordered]
    swapped = [f"{a} ({x:.2g}) and {b} ({y:.2g})" for (a, x), (b, y) in pairwise(klds) if x >= y]
    if swapped:
        return f"KLD does not always rise as bits go down: see {', '.join(swapped)}."
    return (
        f"KLD rises at every step from {klds[0][0]} to {klds[-1][0]}: the fewer bits, the further from the reference."
    )


def told_apart(c: Comparison) -> list[str]:
    """For each aspect, the quants that can be told apart from the reference."""
    quant = reference_of(c).quant
    return [f"Quants that can be told apart from {quant} by {aspect.title}: {names}." for aspect, names in apart(c)]


def apart(c: Comparison) -> list[tuple[Aspect, str]]:
    """Each aspect, and the quants that can be told apart from the reference by it: "all 6", "Q2_K", "none"."""
    found: dict[Aspect, list[str]] = {}
    for verdict in verdicts(c.candidates, c.noise.forced if c.noise else None):
        for check in verdict.checks:
            found.setdefault(check.aspect, []).extend([verdict.name] * check.differs)
    n = len(c.candidates)
    return [(a, f"all {n}" if len(names) == n else ", ".join(names) or "none") for a, names in found.items()]
