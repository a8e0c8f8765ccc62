"""Records to rows and back. Nothing reaches SQLite before its type was checked here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from math import fsum, isnan
from operator import attrgetter
from typing import Any

from localent.errors import LocalentError
from localent.records import (
    MEASURES,
    TOP_K_MEASURES,
    Alternative,
    Answer,
    Choice,
    Extraction,
    Model,
    Probe,
    Problem,
    Run,
    Step,
    Token,
    Trace,
    token_texts,
)

Columns = Mapping[str, tuple[str, bool]]  # name -> (SQLite type, may be null)
Row = dict[str, Any]  # column -> value

SETTINGS = ("temperature", "top_p", "top_k", "seed", "max_tokens", "lanes", "threads", "gpu_layers", "shots")
TOKEN = ("token_id", *MEASURES, *TOP_K_MEASURES)  # columns of tokens that are fields of Token
OF_STEPS = ("observations", "ideal_entropy", "ideal_answers")  # columns of problems: JSON, null where there are none
PROBE = tuple(f.name for f in fields(Probe) if f.name not in ("answers", "estimator"))
measures_of = attrgetter(*TOKEN)
read_of = attrgetter(*PROBE)

PYTHON_TYPES: dict[str, set[type]] = {"INTEGER": {int}, "REAL": {float, int}, "TEXT": {str}, "BLOB": {bytes}}
JSON_TYPES = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, in the order of its key."""

    table: str
    columns: tuple[str, ...]
    values: list[tuple[Any, ...]]


def one(table: str, row: dict[str, object]) -> Rows:
    """A single row given as a dict."""
    return Rows(table, tuple(row), [tuple(row.values())])


# --- checks -----------------------------------------------------------------------------------------------


def checked(rows: Rows, schema: Columns) -> Rows:
    """The rows; raise unless every value is exactly of its column's Python type, and no float is NaN.

    numpy scalars would become BLOBs, or pass as floats (numpy.float64 is one); NaN would become null.
    """
    for name, values in zip(rows.columns, zip(*rows.values, strict=True), strict=False):
        kind, nullable = schema[name]
        wrong = set(map(type, values)) - PYTHON_TYPES[kind] - ({type(None)} if nullable else set())
        if wrong:
            expected = " or ".join(sorted(t.__name__ for t in PYTHON_TYPES[kind]))
            got = ", ".join(sorted(f"{t.__module__}.{t.__qualname__}" for t in wrong))
            raise TypeError(f"{rows.table}.{name}: expected {expected}, got {got}; convert it first.")
        present = [value for value in values if value is not None] if nullable else values
        if kind == "REAL" and any(map(isnan, present)):
            raise ValueError(f"{rows.table}.{name}: expected a number, got NaN; it must not be stored.")
    return rows


def flag(value: object, name: str) -> int:
    """0 or 1, from a Python bool only."""
    if type(value) is not bool:
        raise TypeError(f"{name}: expected bool, got {type(value).__module__}.{type(value).__qualname__}.")
    return int(value)


def canonical(value: object) -> str:
    """JSON with sorted keys: equal values give equal text."""
    check_json(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def check_json(value: object) -> None:
    """Raise unless the value is made of plain JSON types only, which numpy.float64 is not."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        for part in value:
            check_json(part)
    elif type(value) not in JSON_TYPES:
        raise TypeError(f"expected a JSON value, got {type(value).__module__}.{type(value).__qualname__} {value!r}.")


# --- models, problems, runs ---------------------------------------------------------------------------------


def model_row(model: Model) -> Rows:
    row = {field.name: getattr(model, field.name) for field in fields(model)}
    return one("models", row | {"tensor_types": canonical(model.tensor_types)})


@contextmanager
def as_written(table: str) -> Iterator[None]:
    """Context: a row that is not as we wrote it gets a sentence."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise LocalentError(
            f"A row of {table} is not as localent writes it ({error}): 'localent check DB' tells more about the file."
        ) from error


@as_written("models")
def model_of(row: Row) -> Model:
    return Model(**row | {"tensor_types": json.loads(row["tensor_types"])})


def task_row(task: str, kind: str, source: str | None) -> Rows:
    return one("tasks", {"task": task, "kind": kind, "source": source})


def problem_row(task: str, problem: Problem) -> Rows:
    """The row of a problem, but for what it is a variant of, which may change."""
    row = {"task": task} | asdict(problem) | {"choices": canonical([asdict(choice) for choice in problem.choices])}
    of_steps = {name: row.pop(name) for name in OF_STEPS}
    del row["variant_of"]
    return one("problems", row | {name: canonical(steps) for name, steps in of_steps.items() if steps})


@as_written("problems")
def problem_of(row: Row) -> Problem:
    row = {name: value for name, value in row.items() if name != "task"}
    row |= {"choices": tuple(Choice(**choice) for choice in json.loads(row["choices"]))}
    observations, entropy, answers = (json.loads(row[name] or "[]") for name in OF_STEPS)
    ideal = {"ideal_entropy": tuple(map(float, entropy)), "ideal_answers": tuple(map(tuple, answers))}
    return Problem(**row | {"observations": tuple(observations)} | ideal)


def run_row(run: Run) -> Rows:
    row = {"run_id": run.run_id, "model_sha256": run.model_sha256, "task": run.task}
    row |= {"settings": canonical(run.settings), "build": canonical(run.build)}
    return one("runs", row | {name: run.settings.get(name) for name in SETTINGS})


@as_written("runs")
def run_of(row: Row) -> Run:
    settings, build = dict(json.loads(row["settings"])), dict(json.loads(row["build"]))
    return Run(row["run_id"], row["model_sha256"], row["task"], settings, build)


# --- traces -------------------------------------------------------------------------------------------------


def trace_id(run_id: str, problem_id: str, sample: int) -> int:
    """The id of a trace: 53 bits, so that JSON and JavaScript keep it; the same in any order of finishing."""
    digest = hashlib.sha256(f"{run_id}/{problem_id}/{sample}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 11


def trace_rows(run: Run, trace: Trace) -> Iterator[Rows]:
    """All rows of one trace, children first: what is summed is checked before it is summed."""
    key = trace_id(run.run_id, trace.problem_id, trace.sample)
    probes = sorted(trace.probes, key=probe_key)
    yield alternative_rows(key, trace.tokens)
    yield Rows(
        "tokens", ("trace_id", "token_index", "text", "piece", "given", *TOKEN), list(token_values(key, trace.tokens))
    )
    yield answer_rows(key, probes)
    yield probe_rows(key, probes)
    yield step_rows(key, trace)
    yield trace_row(key, run, trace)


def rows_of(run: Run, trace: Trace) -> tuple[Rows, ...]:
    """All rows of one trace, parents first, as they are written."""
    return tuple(trace_rows(run, trace))[::-1]


def trace_row(key: int, run: Run, trace: Trace) -> Rows:
    read = trace.extraction
    row = {"trace_id": key, "run_id": run.run_id, "task": run.task}
    row |= {"problem_id": trace.problem_id, "sample": trace.sample}
    row |= {"correct": flag(trace.correct, "Trace.correct"), "finish": trace.finish}
    row |= {"answer": read.value, "answer_raw": read.raw}
    row |= {"extraction_method": read.method, "extraction_problem": read.problem}
    own = trace.generated
    row |= {"n_prompt": trace.n_prompt, "n_tokens": len(own), "n_given": len(trace.tokens) - len(own)}
    row |= {"n_steps": sum(step.kind == "reasoning" for step in trace.steps)}
    row |= {"n_probe_tokens": sum(probe.n_fed for probe in trace.probes)}
    row |= entropy_columns(own) | {"log_prob": -fsum(token.surprisal for token in own)}
    return one("traces", row | {"text": trace.text})


def entropy_columns(tokens: Sequence[Token]) -> dict[str, float | None]:
    """Means over the tokens that were generated, stored with their trace or step for the views.

    fsum rounds once, in any order.
    """
    tokens = [token for token in tokens if not token.given]
    if not tokens:
        return {"mean_entropy": None, "max_entropy": None, "mean_surprisal": None}
    return {
        "mean_entropy": fsum(token.entropy for token in tokens) / len(tokens),
        "max_entropy": max(token.entropy for token in tokens),
        "mean_surprisal": fsum(token.surprisal for token in tokens) / len(tokens),
    }


def token_values(key: int, tokens: Sequence[Token]) -> Iterator[tuple[Any, ...]]:
    """Columns trace_id, token_index, text, piece, given, measures."""
    texts = token_texts([token.text for token in tokens])
    for index, (token, text) in enumerate(zip(tokens, texts, strict=True)):
        piece = None if text.encode() == token.text else token.text
        yield key, index, text, piece, flag(token.given, "Token.given"), *measures_of(token)


def alternative_rows(key: int, tokens: Sequence[Token]) -> Rows:
    columns = ("trace_id", "token_index", "alternative_rank", "token_id", "text", "prob")
    values = [
        (key, index, rank, other.token_id, other.text, other.prob)
        for index, token in enumerate(tokens)
        for rank, other in enumerate(token.alternatives, start=1)
    ]
    return Rows("alternatives", columns, values)


def step_rows(key: int, trace: Trace) -> Rows:
    columns = ("trace_id", "step_index", "kind", "start_token", "end_token", "text", *entropy_columns(()))
    values = [
        (key, s.index, s.kind, s.start, s.end, s.text, *entropy_columns(trace.tokens[s.start : s.end]).values())
        for s in sorted(trace.steps, key=attrgetter("index"))
    ]
    return Rows("steps", columns, values)


def probe_key(probe: Probe) -> tuple[int, str]:
    """(k, estimator) as the tables have them, where a control adds its name: (3, "number:shuffled")."""
    return probe.k, probe.estimator if probe.control is None else f"{probe.estimator}:{probe.control}"


def probe_rows(key: int, probes: Sequence[Probe]) -> Rows:
    values = [(key, probe_key(probe)[1], *read_of(probe)) for probe in probes]
    return Rows("probes", ("trace_id", "estimator", *PROBE), values)


def answer_rows(key: int, probes: Sequence[Probe]) -> Rows:
    columns = ("trace_id", "k", "estimator", "answer_rank", "value", "prob")
    values = [
        (key, *probe_key(probe), rank, answer.value, answer.prob)
        for probe in probes
        for rank, answer in enumerate(probe.answers, start=1)
    ]
    return Rows("answers", columns, values)


def trace_of(
    trace: Row,
    tokens: list[Row],
    alternatives: list[Row],
    steps: list[Row],
    probes: list[Row],
    answers: list[Row],
) -> Trace:
    """The record that these rows were written from."""
    others: dict[int, list[Alternative]] = {}
    for row in alternatives:
        others.setdefault(row["token_index"], []).append(Alternative(row["token_id"], row["text"], row["prob"]))
    read = (trace["answer"], trace["answer_raw"], trace["extraction_method"], trace["extraction_problem"])
    return Trace(
        **{name: trace[name] for name in ("problem_id", "sample", "text", "n_prompt", "finish")},
        correct=bool(trace["correct"]),
        extraction=Extraction(*read),
        tokens=tuple(token_of(row, tuple(others.get(row["token_index"], ()))) for row in tokens),
        steps=tuple(map(step_of, steps)),
        probes=tuple(probe_from(probe, answers) for probe in probes),
    )


def token_of(row: Row, alternatives: tuple[Alternative, ...] = ()) -> Token:
    piece = row["text"].encode() if row["piece"] is None else row["piece"]
    given = bool(row["given"])
    return Token(text=piece, alternatives=alternatives, given=given, **{name: row[name] for name in TOKEN})


def step_of(row: Row) -> Step:
    return Step(row["step_index"], row["start_token"], row["end_token"], row["text"], row["kind"])


def probe_from(row: Row, answers: list[Row]) -> Probe:
    mine = [a for a in answers if (a["k"], a["estimator"]) == (row["k"], row["estimator"])]
    estimator = row["estimator"].removesuffix(f":{row['control']}")
    found = tuple(Answer(a["value"], a["prob"]) for a in mine)
    return Probe(estimator=estimator, answers=found, **{name: row[name] for name in PROBE})


# --- texts ----------------------------------------------------------------------------------------------------

TEXT_TOKEN = ("text_id", "window_index", "token_index", "token_id", "text", "piece", "given", *MEASURES)
Seen = tuple[int, bytes, bool, Token | None]  # id, piece, said by another, measures; None: nothing predicts it
measures_in_text = attrgetter(*MEASURES)


def text_row(row: Mapping[str, object]) -> Rows:
    return one("texts", dict(row) | {name: canonical(row[name]) for name in ("settings", "build")})


def text_token_rows(text_id: str, windows: Iterable[tuple[int, Sequence[Seen]]]) -> Rows:
    """The tokens of a text by window."""
    values = [value for i, tokens in windows for value in _of_window(text_id, i, tokens)]
    return Rows("text_tokens", TEXT_TOKEN, values)


def _of_window(text_id: str, window: int, tokens: Sequence[Seen]) -> Iterator[tuple[Any, ...]]:
    texts = token_texts([piece for _, piece, _, _ in tokens])
    for index, ((token_id, piece, given, seen), text) in enumerate(zip(tokens, texts, strict=True)):
        odd = None if text.encode() == piece else piece
        measures = measures_in_text(seen) if seen else (None,) * len(MEASURES)
        yield text_id, window, index, token_id, text, odd, flag(given, "given"), *measures


# --- comparisons ----------------------------------------------------------------------------------------------

BOTH = ("surprisal", "entropy", "varentropy", "margin")  # of the reference and of the candidate
DIVERGENCE = (
    *("comparison_id", "text_index", "position", "trace_id", "token_id", "class"),
    *("kld", "kld_reverse", "jsd", "same_top"),
    *(f"{name}_{side}" for name in BOTH for side in ("reference", "candidate")),
)


def comparison_row(row: Mapping[str, object]) -> Rows:
    return one("comparisons", dict(row) | {name: canonical(row[name]) for name in ("settings", "figures")})
