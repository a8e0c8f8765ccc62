"""Runs with a known effect as the store would give them, and traces of which only some columns matter."""

from dataclasses import dataclass, field

import numpy as np
import scipy.stats

from localent.analysis import load
from localent.analysis.judgement import judgement
from localent.analysis.probed import Probed
from localent.analysis.recorded import Traces
from localent.analysis.summary import Summary, summarise
from localent.records import Model, Run

OF_PROBES = (*load.OF_PROBES, *load.NUMBERS)


@dataclass
class Simulated:
    """What load asks of a database: a run with an effect on entropy, on length, or none."""

    n_problems: int = 200
    samples: int = 1
    entropy_effect: float = 0.0  # nats, wrong above right
    length_effect: float = 0.0  # tokens per unit of difficulty, which makes wrong; < 0: wrong traces are short
    by_length: bool = False  # entropy rises with length, and with nothing else
    share_wrong: float = 0.4
    probed: bool = True
    seed: int = 0
    columns: tuple[dict, dict] = field(init=False)

    def __post_init__(self):
        self.columns = simulated_columns(self)

    def run(self, _):
        settings = {"temperature": 0.7}
        return Run("0123456789ab", "a" * 64, "sums", settings, {})

    def model(self, _):
        return Model("a" * 64, "abacus", "/m", "llama", "F16", 3, 4, 16.0, {"F16": 3}, 512, 1024, "b", None)

    def kind(self, _):
        return "number"

    def problems(self, _, *, traced=False):
        return []

    def traces(self, _, names):
        return {name: self.columns[0][name] for name in names}

    def probe_rows(self, _, names):
        return {name: self.columns[1][name] for name in names}

    def answers(self, _, names):
        return {name: [] for name in names}

    def tokens(self, _, names):
        """Every token of a trace has its mean entropy, whatever is measured."""
        each = np.repeat(np.maximum(self.columns[0]["mean_entropy"], 0.01), self.columns[0]["n_tokens"])
        return dict.fromkeys(names, each) | {"text": ["x"] * len(each)}

    generated = tokens

    def given(self, _):
        return {"trace_id": [], "token_index": []}

    def steps(self, _, names):
        n = sum(self.columns[0]["n_steps"])
        return {name: ["reasoning"] * n if name == "kind" else np.ones(n) for name in names}

    def summary(self) -> Summary:
        run = load.run(self, "")
        return summarise(run.traces, run.probes.own, judgement=judgement(run))


def labelled(wrong, problems, n_tokens) -> Traces:
    """Traces of which nothing but these is asked: arrays (n,)."""
    n = len(wrong)
    nothing, none = np.full(n, np.nan), np.zeros(n, bool)
    return Traces(
        run_id="made", model="made", quant="F16", task="made", trace_ids=np.arange(n), problems=np.asarray(problems),
        samples=np.zeros(n, int), wrong=np.asarray(wrong), truncated=none, looped=none, failed=none,
        answers=np.full(n, None), n_tokens=np.asarray(n_tokens), n_steps=np.zeros(n, int), chance=np.zeros(n),
        difficulty=nothing,
        mean_entropy=nothing, mean_surprisal=nothing,
    )  # fmt: skip


def probed(values, position, wrong, problems) -> Probed:
    """Probes whose every number is of these values: (n, K + 1), as position is; wrong, problems: (n,)."""
    n = len(wrong)
    numbers = ("entropy", "entropy_se", "next_entropy", "residual", "p_true", "leader_true", "p_leader", "invalid")
    numbers += ("n_tokens", "n_fed")
    return Probed(
        estimator="number", control=None, trace_ids=np.arange(n), problems=problems, wrong=wrong,
        n_rollouts=np.zeros(n, int), position=position,
        k=np.where(np.isnan(position), np.nan, np.arange(position.shape[1])),
        leader=np.full(position.shape, -2), motion=values[:, 1:],
        net_motion=values[:, 0], **dict.fromkeys(numbers, values),
    )  # fmt: skip


def simulated_columns(run):
    r = np.random.default_rng(run.seed)
    traces = {name: [] for name in (*load.OF_TRACES, "true_answer")}
    found = {name: [] for name in OF_PROBES}
    for i in range(run.n_problems * run.samples):
        problem, difficulty = f"p{i // run.samples}", r.normal()
        wrong = bool(r.random() < scipy.stats.norm.cdf(abs(run.length_effect) / 20 * difficulty) * 2 * run.share_wrong)
        n_tokens = 100 + round(run.length_effect * difficulty) + int(r.integers(10))
        excess = 0.01 * abs(n_tokens - 100) * np.sign(difficulty) if run.by_length else 0.0
        entropy = 0.5 + excess + 0.1 * r.normal() + run.entropy_effect * wrong
        steps = 1 + int(r.integers(6))
        row = dict(trace_id=i, problem_id=problem, sample=i % run.samples, correct=int(not wrong), finish="stop")
        row |= dict(n_tokens=n_tokens, n_steps=steps, problem_steps=steps, mean_entropy=float(entropy), true_answer="1")
        append(traces, row | dict(answer="0" if wrong else "1"))
        for k in range(steps + 1) if run.probed else ():
            h = max(0.0, 2.0 * (1 - k / steps) + 10 * run.entropy_effect * wrong * k / steps + 0.1 * r.normal())
            p = 0.1 + (0.0 if wrong else 0.8 * k / steps) + 1e-3 * h  # no two alike: ties hang on the order of a sum
            shape = dict(entropy=h, entropy_se=0.05, p_true=p, invalid=0.1 / (k + 1), residual=0.2 / (k + 1))
            append(found, shape | dict(trace_id=i, estimator="number", k=k, position=k / steps))
    return traces, found


def append(columns, row):
    for name, column in columns.items():
        column.append(row.get(name))
