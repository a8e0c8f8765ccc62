"""A database of made-up runs for the views of it: like real ones in shape, right and wrong by a known rule."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from localent.records import Alternative, Answer, Choice, Extraction, Model, Probe, Problem, Run, Step, Token, Trace
from localent.store import open_db

HOSTILE = "<script>alert(1)</script>"
ESCAPE = "\x1b[2J\x07"  # would clear a terminal and ring
SENTENCE = ("Then", " there", " were", " 1", "2", " +", " 5", " =", " 1", "7", " apples", ".\n")
MODELS = (("abacus-base", "F16", 16.0), ("abacus-sft", "F16", 16.0), ("abacus-sft", "Q4_K_M", 4.9))


def made(path: Path, n_runs: int = 1, n_problems: int = 40, n_steps: int = 4, alternatives: int = 0, seed: int = 0):
    """Fill `path`; returns the run ids. Wrong traces keep more answer entropy; every tenth text is hostile."""
    rng = np.random.default_rng(seed)
    problems = [a_problem(i) for i in range(n_problems)]
    runs = []
    with open_db(path) as db:
        for r in range(n_runs):
            model, run = a_model(r), a_run(r, alternatives)
            db.add_model(model)
            db.add_task("sums", "number", source="made up")
            db.add_problems("sums", problems)
            db.add_run(run)
            session = db.start_session(run.run_id, host="nowhere")
            for i in range(n_problems):
                steps = max(1, n_steps - 2 + i % 4) if n_steps < 20 else n_steps
                db.add_trace(run.run_id, a_trace(i, steps, rng, alternatives), session_id=session)
            db.end_session(session)
            runs.append(run.run_id)
    return runs


def a_model(r: int) -> Model:
    name, quant, bits = MODELS[r % len(MODELS)]
    sha = f"{r:064x}"
    return Model(sha, name, f"{name}.gguf", "llama", quant, 3, 4, bits, {"F16": 3}, 512, 1024, "b", None)


def a_run(r: int, alternatives: int) -> Run:
    settings = {"temperature": 0.7, "seed": 1, "lanes": 8, "alternatives": alternatives}
    return Run(f"{r:x}" + "0123456789a", f"{r:064x}", "sums", settings, {"localent": "0.1.0"})


def a_problem(i: int) -> Problem:
    question = f"Ann has {i} apples and gets 5 more. How many are there? {HOSTILE if i % 10 == 3 else ''}"
    return Problem(f"{i:016x}", f"made-{i:04}", question.strip(), str(i + 5), n_steps=i % 4 + 1)


def a_choice() -> Problem:
    return Problem("c" * 16, "choice", "Which?", "B", choices=(Choice("A", "this"), Choice("B", "that")))


def a_trace(i: int, n_steps: int, rng: np.random.Generator, alternatives: int = 0) -> Trace:
    """Problem i's attempt: wrong where i % 3 == 0."""
    correct, truth = i % 3 != 0, str(i + 5)
    hostile = f" {HOSTILE}{ESCAPE}" if i % 10 == 3 else ""
    pieces = [piece for _ in range(n_steps) for piece in SENTENCE] + ["The answer is", f" {truth if correct else 'x'}"]
    pieces[1] += hostile
    tokens = tuple(a_token(piece, rng, alternatives) for piece in pieces)
    width, end = len(SENTENCE), n_steps * len(SENTENCE)
    steps = [
        Step(k, k * width, k * width + width, "".join(pieces[k * width : k * width + width]), "reasoning")
        for k in range(n_steps)
    ]
    steps += [Step(n_steps, end, end + 2, "".join(pieces[end:]), "answer")]
    probes = tuple(a_probe(k, n_steps, correct, truth, rng, led=i % 6 == 0) for k in range(n_steps + 1))
    read = Extraction(truth if correct else "99", None, "answer statement", None)
    text = "".join(pieces)
    return Trace(f"{i:016x}", 0, text, 20, "stop", read, correct, tokens, tuple(steps), probes)


def a_token(piece: str, rng: np.random.Generator, alternatives: int) -> Token:
    entropy, surprisal = (float(x) for x in rng.gamma(0.6, 1.0, 2))
    others = ((piece, 0.6), (HOSTILE, 0.2), (" seven", 0.1), ("\n", 0.05), ("é", 0.01))
    kept = tuple(Alternative(n, text, prob) for n, (text, prob) in enumerate(others[:alternatives]))
    rank = 1 + int(surprisal)
    return Token(len(piece), piece.encode(), surprisal, entropy, entropy**2, 0.5, 0.6, 1.0, rank, 3.0, None, None, kept)


def a_probe(k: int, n_steps: int, correct: bool, truth: str, rng: np.random.Generator, led: bool) -> Probe:
    """`led`: of a wrong trace, whether the true answer led in its middle."""
    t = k / n_steps
    p = min(0.98, 0.02 + (0.9 if correct else 0.25) * t + 0.02 * float(rng.random()))
    p = 0.7 if led and not correct and 0 < k < n_steps else p
    h = 2.4 * (1 - t) + (0.1 if correct else 0.9) * t + 0.2 * float(rng.random())
    found = sorted([Answer(truth, p), Answer("99", (1 - p) * 0.5), Answer("7", (1 - p) * 0.2)], key=lambda a: -a.prob)
    place = dict(k=k, n_tokens=k * len(SENTENCE), position=t, estimator="number", n_fed=9)
    shape = dict(answers=tuple(found), invalid=0.02, residual=0.01, leader=found[0].value)
    bounds = dict(entropy=h, entropy_se=0.05, entropy_lower=max(h - 0.1, 0.0), entropy_upper=h + 0.1)
    return Probe(**place, **shape, **bounds, p_true=p, log_p_true=math.log(p))
