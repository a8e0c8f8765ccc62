"""The tour as tables and plain sentences, at most 100 columns wide: wording that follows the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise

from localent.analysis import claims
from localent.analysis.claims import Claim, Verdict
from localent.analysis.curves import FLOORED
from localent.analysis.family import FAMILY
from localent.analysis.intervals import Estimate
from localent.analysis.quantities import KLD, SAME_TOP, Figure
from localent.analysis.signatures import LOCK
from localent.compare import Candidate, Comparison
from localent.compare.verdict import times_noise, verdicts
from localent.report.science import Table, lock, short
from localent.report.terminal import number, point
from localent.study import Study, Subject

MAIN = (
    "A problem is reasoned through step by step. After each step the model is asked what it would answer now, and"
    " its whole answer distribution is read off. Answer entropy, in nats, says how spread out that is: 0 is certain,"
    " 0.69 torn between two answers, 4.6 between a hundred.",
)
STAGES = (
    "The same first problems of a task that asks for a number and of one that offers options, at every stage. early:"
    " part of pretraining; base: all of it; sft: then fine-tuned on clean solutions; rl: then reinforced on right"
    " answers.",
)
GAIN = (
    "How to read it: gained is how much likelier the reasoning has made the true answer than it was before the first"
    " step, in nats, mean of traces: 0.69 is twice as likely, below 0 less likely. Slope: the same over a whole trace,"
    f" fitted to all its steps. {FLOORED}",
    "[ ]: 95 % interval, clustered by problem.",
)
OUTCOME = (
    "How to read it: AUROC is how often the wrong one of a wrong and a right trace has the higher answer entropy"
    " half-way; 0.5 is a coin; equal steps: only pairs with equally many steps. Locked in: share of the steps after"
    f" which the answer entropy stays at {LOCK:g} nats or less, median; never: not in more than half of the traces."
    " Wrong later: Cliff's delta, above 0 where wrong traces lock in later. * Right and wrong are known only at the"
    " end.",
)
VERDICTS = (
    "Supported: the whole interval is on the claimed side, and the effect large enough to count. Refuted: the whole"
    " interval is below that size. Undecided: anything else. 'localent study' adds the controls that such claims"
    " need."
)
QUANTED = (
    "The fine-tuned model and six quants of it. First all of them read the same traces, which the model wrote; then"
    " each of them works on the same problems by itself.",
)
QUANTS = (
    "How to read it: KLD is how far the quant's next-token distributions are from the reference's on the same text,"
    " mean. x noise: over the distance of the reference from itself when only the size of the calls changes. Same"
    " top: how often both find the same token likeliest. Lost, won: problems that only the reference, and that only"
    " the quant gets right, each running free with the same seed.",
)
PREFIXES = (
    "How to read it: what each would answer at the same points of the reference's traces. Its answer entropy at a"
    " share of the steps, in nats; then quant minus reference, the entropy and the information gained about the true"
    " answer.",
)
SMALL = (
    "Each at 95 %, accuracy after Holm's rule: a lone exception may be chance. What cannot be told apart need not be"
    " equal: with {n} problems only large changes show."
)


# --- stages of training ---------------------------------------------------------------------------------------------


def gain_table(subjects: Iterable[Subject]) -> Table:
    """Stages side by side: accuracy, and information gained about the true answer."""
    columns = ["task, stage", "accuracy, %", "gained half-way", "gained by the end", "slope"]
    rows = [
        [name_of(s), share(s.accuracy), *(short(e, 2) for e in (s.gain_half, gain_end(s), s.gain))] for s in subjects
    ]
    return columns, rows


def outcome_table(judged: Study) -> Table:
    """Stages side by side: do wrong traces stay uncertain, do they lock in later?"""
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
    return model.removeprefix(f"{FAMILY}-")


def gain_end(s: Subject) -> Estimate:
    """Information gained by the end of the reasoning, in nats."""
    return point(s.signatures.gain, -1)


def verdict_on(one: Claim, judged: Study, s: Subject) -> Verdict:
    return next(v for task, v in judged.verdicts if (task, v.subject, v.key) == (s.task, s.model, one.key))


def stage_sentences(judged: Study) -> list[str]:
    """The verdicts on gathering information, in words."""
    found = []
    for task in dict.fromkeys(s.task for s in judged.subjects):
        rises = [
            f"{short_name(s.model)} {verdict_on(claims.GAIN_RISES, judged, s).verdict}"
            for s in judged.subjects
            if s.task == task
        ]
        found.append(f"On {task}, the reasoning gathers information about the true answer: {', '.join(rises)}.")
        trained = [
            f"{' -> '.join(map(short_name, v.subject.split(' -> ')))} {v.verdict}"
            for of, v in judged.verdicts
            if of == task and v.key == claims.TRAINING.key
        ]
        found.append(f"On {task}, training increases that gain: {', '.join(trained)}.")
    return [*found, VERDICTS]


def stage_records(judged: Study) -> list[dict[str, object]]:
    """What the two tables show, for machines."""
    names = ("task", "model", "run_id", "accuracy", "gain_half", "gain", "auroc_half_any", "auroc_half")
    found = []
    for s in judged.subjects:
        row = {name: getattr(s, name) for name in names} | {"gain_end": gain_end(s)}
        row = {name: asdict(v) if isinstance(v, Estimate) else v for name, v in row.items()}
        found.append(row | {"lock_right": lock(s.lock_right), "lock_wrong": lock(s.lock_wrong)})
    return found


# --- quants -----------------------------------------------------------------------------------------------------------


def quant_table(c: Comparison) -> Table:
    """The reference, the noise floor and each quant, a row each: distributions and answers."""
    columns = ["quant", "bits", "KLD, nats", "x noise", "same top, %", "accuracy, %", "lost, won"]
    first = c.candidates[0].free
    rows = [[c.reference.quant, f"{c.reference.bits_per_weight:.2f}", "", "", "", share(first.accuracy_reference), ""]]
    return columns, rows + [_quant_row(one, name) for one, name in named(c)]


def _quant_row(one: Candidate, name: str) -> list[str]:
    kld, free = one.forced[KLD.key], one.free
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
    """The same rows: answer entropy along the reference's traces, and what changes."""
    first = c.candidates[0].trajectory
    columns = ["quant", *(f"{100 * t:.0f} %" for t in first.at), "entropy changes by", "gain changes by"]
    rows = [[c.reference.quant, *map(_nats, first.entropy_reference), "", ""]]
    for one, name in named(c):
        path = one.trajectory
        changes = (path.delta_entropy, path.gain_change)
        rows.append([name, *map(_nats, path.entropy_candidate), *(short(change) for change in changes)])
    return columns, rows


def named(c: Comparison) -> Iterator[tuple[Candidate, str]]:
    """The noise floor, then the quants, each with the name of its row."""
    if c.noise:
        yield c.noise, "noise floor"
    yield from ((one, one.model.quant) for one in c.candidates)


def kld_cell(kld: Figure) -> str:
    """Five decimals and the interval; "3.5e-07" where these would be zeros."""
    return f"{kld.value:.1e}" if 0 < kld.value < 1e-5 else number(Estimate(kld.value, kld.low, kld.high), 1.0, 5)


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def share(found: Estimate) -> str:
    """ "41.3 [35.9, 47.0]", in per cent."""
    return number(found, 100.0, 1)


def quant_sentences(c: Comparison) -> list[str]:
    """What the numbers say about the quants."""
    return [order_sentence(c.candidates), *told_apart(c), SMALL.format(n=c.candidates[0].free.n_problems)]


def order_sentence(candidates: Sequence[Candidate]) -> str:
    """Whether fewer bits are further from the reference."""
    ordered = sorted(candidates, key=lambda one: -one.model.bits_per_weight)
    klds = [(one.model.quant, one.forced[KLD.key].value) for one in ordered]
    swapped = [f"{a} ({x:.2g}) and {b} ({y:.2g})" for (a, x), (b, y) in pairwise(klds) if x >= y]
    if swapped:
        return f"KLD does not always rise as bits go down: see {', '.join(swapped)}."
    return (
        f"The fewer bits, the further from the reference: KLD rises at every step from {klds[0][0]} to {klds[-1][0]}."
    )


def told_apart(c: Comparison) -> list[str]:
    """Aspect by aspect, which quants can be told apart from the reference."""
    apart: dict[str, list[str]] = {}
    for verdict in verdicts(c.candidates, c.noise.forced if c.noise else None):
        for check in (*verdict.differs, *verdict.same):
            names = apart.setdefault(check.aspect.title, [])
            names += [verdict.name] if check.differs else []
    n = len(c.candidates)
    listed = {a: f"all {n}" if len(x) == n else ", ".join(x) or "none" for a, x in apart.items()}
    return [f"Quants that can be told apart from {c.reference.quant} by {a}: {names}." for a, names in listed.items()]
