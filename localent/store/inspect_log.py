"""A run as a log of Inspect (inspect_ai), which `inspect view` and its Python reader open: one JSON file.

A trace is a sample of its problem, its attempt the epoch. Its tokens are the log-probabilities of the output; whether
it is right, its mean token entropy and its answer entropies are scores; the answer distribution by step is metadata.
Written against log version 2 of inspect_ai 0.3, without importing it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from localent.records import Run
from localent.store.db import Database

VERSION = 2  # of Inspect's format
STOPS = {"stop": "stop", "early": "stop", "given": "stop", "length": "max_tokens"}  # finish -> Inspect's; else unknown
RIGHT, WRONG = "C", "I"  # as Inspect's own scorers write them
MEASURED = ("mean_entropy", "answer_entropy_half", "answer_entropy_last")  # scores beside `correct`, nats
SAMPLING = ("temperature", "top_p", "top_k", "seed", "max_tokens")  # of settings, by the same names in Inspect
MOST_CHARS = 64  # of a task's or a run's name in that of a file
PROBES = """select k, position, entropy, entropy_lower, entropy_upper, p_true, leader, invalid, residual from probes
  where trace_id = ? and control is null and n_rollouts is null order by k"""
TOKENS = "select token_index, text, surprisal, given from tokens where trace_id = ? order by token_index"
OTHERS = "select token_index, text, prob from alternatives where trace_id = ? order by token_index, alternative_rank"
TRACES = """select s.*, t.text, t.extraction_method, t.extraction_problem, t.n_prompt, p.question, p.choices
  from trace_summary s join traces t using (trace_id)
  join problems p on p.task = s.task and p.problem_id = s.problem_id
  where s.run_id = ? order by s.problem_id, s.sample"""


def name_of(db: Database, run_id: str) -> str:
    """The file's name, as Inspect's viewer expects it: time of the first session, task, run."""
    run = _summary(db, run_id)
    return "_".join(map(part_of_name, (str(run["started"])[:19], str(run["task"]), run_id))) + ".json"


def part_of_name(text: str) -> str:
    """A text of a database as a part of a file's name: at most MOST_CHARS letters, digits and "-".

    A database of somebody else may hold anything, also a path out of the folder.
    """
    return re.sub(r"[^A-Za-z0-9-]", "-", text[:MOST_CHARS])


def write(db: Database, run_id: str, path: Path, report: Callable[[int], object] = lambda n: None) -> int:
    """Write the log and return its number of samples; `report` gets 1 for each. A sample is in memory at a time."""
    run, summary = db.run(run_id), _summary(db, run_id)
    ids, model = _ids(db, run_id), f"localent/{summary['model']}:{summary['quant']}"
    head = {"version": VERSION, "status": "success", "eval": _spec(run, summary, model, ids), "plan": {}}
    head |= {"results": _results(db, run_id), "stats": _stats(db, summary, model)}
    n = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(_json(head)[:-1] + ', "samples": [')
        for sample in _samples(db, run_id, model, ids):
            file.write((",\n" if n else "\n") + _json(sample))
            n += 1
            report(1)
        file.write("\n]}\n")
    return n


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _summary(db: Database, run_id: str) -> dict[str, Any]:
    return db.query("select * from run_summary where run_id = ?", run_id)[0]


def _ids(db: Database, run_id: str) -> dict[str, str]:
    """problem_id -> the data set's own id, where those are all different; else itself."""
    sql = """select distinct problem_id, source_id from traces join problems using (task, problem_id)
      where run_id = ? order by problem_id"""
    own = {row["problem_id"]: row["source_id"] for row in db.query(sql, run_id)}
    return own if len(set(own.values())) == len(own) else {name: name for name in own}


def _spec(run: Run, summary: dict[str, Any], model: str, ids: dict[str, str]) -> dict[str, Any]:
    settings = {name: value for name, value in run.settings.items() if value is not None}
    return {
        "created": summary["started"],
        "eval_id": run.run_id,
        "run_id": run.run_id,
        "task_id": run.run_id,
        "task": run.task,
        "dataset": {"name": run.task, "samples": len(ids), "sample_ids": list(ids.values())},
        "model": model,
        "model_generate_config": {name: settings[name] for name in SAMPLING if name in settings},
        "model_args": settings,
        "config": {"epochs": math.ceil(summary["n_traces"] / max(summary["n_problems"], 1))},
        "packages": {"localent": str(run.build.get("localent", ""))},
        "metadata": {"build": run.build, "model_sha256": run.model_sha256, "unit of entropies": "nats"},
    }


def _results(db: Database, run_id: str) -> dict[str, Any]:
    """Accuracy, and the means of what was measured of every trace; a mean leaves out traces that lack it."""
    means = ", ".join(f"avg({name}) as {name}, count({name}) as n_{name}" for name in ("correct", *MEASURED))
    found = db.query(f"select count(*) as n, {means} from trace_summary where run_id = ?", run_id)[0]
    scores = [
        {
            "name": name,
            "scorer": name,
            "scored_samples": found[f"n_{name}"],
            "metrics": {metric: {"name": metric, "value": found[name]}},
        }
        for name, metric in (("correct", "accuracy"), *((name, "mean") for name in MEASURED))
        if found[name] is not None
    ]
    return {"total_samples": found["n"], "completed_samples": found["n"], "scores": scores}


def _stats(db: Database, summary: dict[str, Any], model: str) -> dict[str, Any]:
    sql = "select sum(n_prompt) as prompt, sum(n_tokens) as made from traces where run_id = ?"
    found = db.query(sql, summary["run_id"])[0]
    usage = _usage(found["prompt"] or 0, found["made"] or 0)
    return {"started_at": summary["started"], "completed_at": summary["ended"], "model_usage": {model: usage}}


def _usage(n_prompt: int, n_tokens: int) -> dict[str, int]:
    return {"input_tokens": n_prompt, "output_tokens": n_tokens, "total_tokens": n_prompt + n_tokens}


def _samples(db: Database, run_id: str, model: str, ids: dict[str, str]) -> Iterator[dict[str, Any]]:
    for row in db.query(TRACES, run_id):
        choices = [choice["text"] for choice in json.loads(row["choices"])]
        yield {
            "id": ids[row["problem_id"]],
            "epoch": row["sample"] + 1,
            "input": row["question"],
            "target": row["true_answer"],
            "messages": [{"role": "user", "content": row["question"]}, _message(row, model)],
            "output": _output(db, row, model),
            "scores": _scores(row),
            "metadata": _about(db, row),
            **({"choices": choices} if choices else {}),
        }


def _message(row: dict[str, Any], model: str) -> dict[str, Any]:
    return {"role": "assistant", "content": row["text"], "source": "generate", "model": model}


def _output(db: Database, row: dict[str, Any], model: str) -> dict[str, Any]:
    choice = {
        "message": _message(row, model),
        "stop_reason": STOPS.get(row["finish"], "unknown"),
        "logprobs": {"content": _log_probs(db, row["trace_id"])},
    }
    return {"model": model, "choices": [choice], "usage": _usage(row["n_prompt"], row["n_tokens"])}


def _log_probs(db: Database, trace_id: int) -> list[dict[str, Any]]:
    """Every token that the model wrote with its log-probability, and the likeliest ones where they were kept."""
    others: dict[int, list[dict[str, Any]]] = {}
    for other in db.query(OTHERS, trace_id):
        if other["prob"] > 0:
            found = {"token": other["text"], "logprob": math.log(other["prob"])}
            others.setdefault(other["token_index"], []).append(found)
    return [
        {"token": one["text"], "logprob": -one["surprisal"], "top_logprobs": others.get(one["token_index"])}
        for one in db.query(TOKENS, trace_id)
        if not one["given"]
    ]


def _scores(row: dict[str, Any]) -> dict[str, Any]:
    read = f"read as: {row['extraction_method']}"
    right = {
        "value": RIGHT if row["correct"] else WRONG,
        "answer": row["answer"],
        "explanation": read if row["extraction_problem"] is None else row["extraction_problem"],
    }
    return {"correct": right} | {name: {"value": row[name]} for name in MEASURED if row[name] is not None}


def _about(db: Database, row: dict[str, Any]) -> dict[str, Any]:
    """What Inspect has no place for: the trace's id and its answer distributions by step."""
    kept = {name: row[name] for name in ("trace_id", "problem_id", "finish", "n_steps")}
    return kept | {"probes": db.query(PROBES, row["trace_id"])}
