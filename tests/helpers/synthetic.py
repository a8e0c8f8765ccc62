"""Runs made up from known laws, written through the store like real ones: what an analysis must find is known."""

import math
from dataclasses import dataclass, replace

import numpy as np

from localent.records import Answer, Choice, Extraction, Model, Probe, Problem, Run, Step, Token, Trace
from localent.store import open_db

LABELS = ("A", "B", "C", "D")


@dataclass(frozen=True)
class Law:
    """How traces of a made-up run come about."""

    gain: float = 0.0  # logits that the true answer wins over a whole trace, before noise
    gain_wrong: float | None = None  # the same in wrong traces; None: as in right ones
    against: float = 0.0  # logits that one wrong answer wins instead, in wrong traces
    noise: float = 0.3  # of the logits at each probe
    token_gap: float = 0.0  # nats that tokens of wrong traces have more
    by_length: float = 0.0  # how much each step beyond four makes right less likely (logits)
    entropy_by_length: float = 0.0  # how much each step flattens the probes, whatever the outcome
    control_gain: float | None = None  # the gain of the controls; None: no controls
    share_right: float = 0.6
    steps: tuple[int, int] = (2, 7)  # reasoning steps of a trace: from, below


def write(path, law, *, n_problems=150, n_samples=1, seed=0, name="made-up", run_id=None, task="made", **more):
    """A database with one run that follows the law; returns the run's id.

    more: keep, which takes a trace and returns it or None; settings, recorded with the run.
    """
    rng = np.random.default_rng(seed)
    problems = [problem(i) for i in range(n_problems)]
    model = Model(name.ljust(64, "0"), name, f"{name}.gguf", "llama", "F16", 1, 1, 16.0, {"F16": 1}, 8, 512, "t", None)
    run_id = run_id or f"{name}-run".ljust(12, "0")[:12]
    run = Run(run_id, model.sha256, task, {"seed": seed, "lanes": 1} | more.get("settings", {}), {"cpu": "none"})
    with open_db(path) as db:
        db.add_model(model)
        db.add_task(task, "choice")
        db.add_problems(task, problems)
        db.add_run(run)
        for p in problems:
            ease = rng.normal(0, 0.7)
            for sample in range(n_samples):
                one = trace(law, p, sample, ease, rng)
                if kept := (more.get("keep") or (lambda one: one))(one):
                    db.add_trace(run.run_id, kept)
    return run.run_id


def looping(one):
    """The trace, every fifth of them ended because it repeats itself, with no right answer."""
    return replace(one, finish="loop", correct=False) if _is_fifth(one) else one


def without_looping(one):
    """The trace; None for those that `looping` ends."""
    return None if _is_fifth(one) else one


def _is_fifth(one):
    return (int(one.problem_id, 16) + one.sample) % 5 == 0


def problem(i):
    return Problem(f"{i:016x}", str(i), f"question {i}", LABELS[i % 4], tuple(Choice(x, x) for x in LABELS), None, 3)


def trace(law, problem, sample, ease, rng):
    n_steps = int(rng.integers(*law.steps))
    logit = math.log(law.share_right / (1 - law.share_right)) + ease - law.by_length * (n_steps - 4)
    correct = bool(rng.random() < 1 / (1 + math.exp(-logit)))
    others = [label for label in LABELS if label != problem.answer]
    given = problem.answer if correct else others[int(rng.integers(3))]
    tokens = tuple(token(rng.gamma(2, 0.3) + law.token_gap * (not correct), rng) for _ in range(4 * n_steps + 2))
    steps = [Step(i, 4 * i, 4 * i + 4, f"step {i}", "reasoning") for i in range(n_steps)]
    steps.append(Step(n_steps, 4 * n_steps, 4 * n_steps + 2, "answer", "answer"))
    start = rng.normal(0, law.noise, 4)
    probes = [probe(law, problem, given, k, n_steps, start, law.gain, None, rng) for k in range(n_steps + 1)]
    if law.control_gain is not None:
        for control in ("other-question", "shuffled", "filler", "wrong-trace"):
            how = (start, law.control_gain, control, rng)
            probes += [probe(law, problem, given, k, n_steps, *how) for k in range(1, n_steps + 1)]
    read = Extraction(given, given, "answer statement", None)
    parts = tokens, tuple(steps), tuple(probes)
    return Trace(problem.problem_id, sample, f"text {given}", 5, "stop", read, correct, *parts)


def token(entropy, rng):
    surprisal = float(rng.exponential(entropy))
    others = (float(value) for value in rng.gamma(2, 0.3, 3))
    varentropy, renyi2, margin = others
    top1 = float(math.exp(-rng.gamma(2, 0.3)))
    return Token(1, b"x", surprisal, float(entropy), varentropy, renyi2, top1, margin, 1, 0.5)


def probe(law, problem, given, k, n_steps, start, gain, control, rng):
    t = k / n_steps
    logits = start + rng.normal(0, law.noise, 4) * (k > 0)
    if given != problem.answer and law.gain_wrong is not None and control is None:
        gain = law.gain_wrong
    logits[LABELS.index(problem.answer)] += gain * t
    if given != problem.answer:
        logits[LABELS.index(given)] += law.against * t
    logits = logits / (1 + law.entropy_by_length * n_steps)
    p = np.exp(logits - np.logaddexp.reduce(logits))
    order = np.argsort(-p)
    answers = tuple(Answer(LABELS[i], float(p[i])) for i in order)
    true = float(p[LABELS.index(problem.answer)])
    h = float(-(p * np.log(p)).sum())
    place = dict(k=k, n_tokens=4 * k, position=t, estimator="choice", control=control, n_fed=3)
    shape = dict(
        answers=answers, invalid=0.0, residual=0.0, entropy=h, entropy_se=0.0, entropy_lower=h, entropy_upper=h
    )
    truth = dict(p_true=true, log_p_true=math.log(true))
    return Probe(**place, **shape, leader=answers[0].value, **truth, next_entropy=h)


def replaced(p, control):
    """The run as if every trace's reasoning had been the control's text: its own k = 0, then the control's probes."""
    there = np.argsort(np.isnan(control.position), axis=1, kind="stable")
    n_kept = max(int((~np.isnan(control.position)).sum(1).max(initial=0)), 1)

    def joined(name):
        own, other = getattr(p, name), getattr(control, name)
        kept = np.take_along_axis(other, there[:, :n_kept], 1)
        return np.c_[np.where(control.there_at_all, own[:, 0], -1 if name == "leader" else np.nan), kept]

    names = ("position", "entropy", "residual", "p_true", "leader", "leader_true", "p_leader", "invalid")
    names += ("n_tokens", "n_fed")
    arrays = {name: joined(name) for name in names}
    nothing = np.full((len(p.wrong), n_kept), np.nan)
    return replace(p, control=control.control, motion=nothing, net_motion=nothing[:, 0], **arrays)
