"""The store keeps every record exactly, whole or not at all, and refuses what would spoil a file."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.stored import (
    CHOICE,
    EURO,
    MODEL,
    NUMBER,
    RUN,
    a_token,
    a_trace,
    filled,
    sql,
    tables,
    without_permission,
)

from localent.errors import LocalentError, UsageError
from localent.records import Alternative, Answer, Extraction, Trace
from localent.store import connect, migrations, open_db, rows
from localent.store.connect import enable_wal

TESTS = Path(__file__).parents[1]


def with_token(**changes: object) -> Trace:
    trace = a_trace()
    return replace(trace, tokens=(*trace.tokens[:-1], replace(trace.tokens[-1], **changes)))


def with_probe(**changes: object) -> Trace:
    trace = a_trace()
    return replace(trace, probes=(*trace.probes[:-1], replace(trace.probes[-1], **changes)))


@pytest.fixture
def db(tmp_path):
    with filled(tmp_path / "runs.db") as db:
        yield db


# --- schema -------------------------------------------------------------------------------------------------

SCHEMA = {
    "alternatives": "trace_id INTEGER! token_index INTEGER! alternative_rank INTEGER! token_id INTEGER! text TEXT!"
    " prob REAL!",
    "answers": "trace_id INTEGER! k INTEGER! estimator TEXT! answer_rank INTEGER! value TEXT! prob REAL!",
    "attempts": "run_id TEXT! problem_id TEXT! samples INTEGER!",
    "comparisons": "comparison_id TEXT! reference_sha256 TEXT candidate_sha256 TEXT! source TEXT! source_name TEXT!"
    " run_id TEXT candidate_run_id TEXT n_texts INTEGER! n_positions INTEGER! mean_kld REAL! noise_kld REAL"
    " rms_delta_p REAL! same_top REAL! ppl_reference REAL! ppl_candidate REAL! delta_entropy REAL delta_varentropy REAL"
    " n_pairs INTEGER accuracy_reference REAL accuracy_candidate REAL right_to_wrong INTEGER wrong_to_right INTEGER"
    " mcnemar_p REAL length_ratio REAL delta_answer_entropy REAL settings TEXT! figures TEXT!",
    "divergences": "comparison_id TEXT! text_index INTEGER! position INTEGER! trace_id INTEGER token_id INTEGER!"
    " class TEXT kld REAL! kld_reverse REAL! jsd REAL! same_top INTEGER! surprisal_reference REAL!"
    " surprisal_candidate REAL! entropy_reference REAL! entropy_candidate REAL! varentropy_reference REAL!"
    " varentropy_candidate REAL! margin_reference REAL! margin_candidate REAL!",
    "models": "sha256 TEXT! name TEXT! path TEXT! arch TEXT! quant TEXT! n_params INTEGER! file_bytes INTEGER!"
    " bits_per_weight REAL! tensor_types TEXT! n_vocab INTEGER! n_ctx_train INTEGER! tokenizer_sha256 TEXT!"
    " template_sha256 TEXT",
    "origins": "trace_id INTEGER! session_id INTEGER!",
    "probes": "trace_id INTEGER! k INTEGER! estimator TEXT! n_tokens INTEGER! position REAL! entropy REAL"
    " entropy_lower REAL entropy_upper REAL residual REAL! invalid REAL! p_true REAL! log_p_true REAL leader TEXT"
    " n_fed INTEGER! control TEXT n_rollouts INTEGER entropy_se REAL next_entropy REAL",
    "problems": "task TEXT! problem_id TEXT! source_id TEXT! question TEXT! answer TEXT! choices TEXT! solution TEXT"
    " n_steps INTEGER observations TEXT ideal_entropy TEXT ideal_answers TEXT variant_of TEXT",
    "runs": "run_id TEXT! model_sha256 TEXT! task TEXT! settings TEXT! build TEXT! temperature REAL top_p REAL"
    " top_k INTEGER seed INTEGER max_tokens INTEGER lanes INTEGER threads INTEGER gpu_layers INTEGER"
    " shots INTEGER",
    "sessions": "session_id INTEGER! run_id TEXT! host TEXT! started TEXT! ended TEXT! closed INTEGER! seconds REAL!"
    " n_traces INTEGER! n_tokens INTEGER! n_probe_tokens INTEGER! n_todo INTEGER shard TEXT made_as TEXT",
    "steps": "trace_id INTEGER! step_index INTEGER! kind TEXT! start_token INTEGER! end_token INTEGER!"
    " mean_entropy REAL max_entropy REAL mean_surprisal REAL text TEXT!",
    "tasks": "task TEXT! kind TEXT! source TEXT",
    "texts": "text_id TEXT! model_sha256 TEXT! name TEXT! form TEXT! n_tokens INTEGER! n_windows INTEGER!"
    " n_left INTEGER! surprisal REAL! perplexity REAL! entropy REAL! varentropy REAL! top1 REAL! settings TEXT!"
    " build TEXT!",
    "text_tokens": "text_id TEXT! window_index INTEGER! token_index INTEGER! token_id INTEGER! text TEXT! piece BLOB"
    " given INTEGER! surprisal REAL entropy REAL varentropy REAL renyi2 REAL top1_prob REAL margin REAL rank INTEGER"
    " self_certainty REAL",
    "tokens": "trace_id INTEGER! token_index INTEGER! token_id INTEGER! text TEXT! piece BLOB surprisal REAL!"
    " entropy REAL! varentropy REAL! renyi2 REAL! top1_prob REAL! margin REAL! rank INTEGER! self_certainty REAL!"
    " topk_confidence REAL topk_bias REAL given INTEGER!",
    "traces": "trace_id INTEGER! run_id TEXT! task TEXT! problem_id TEXT! sample INTEGER! correct INTEGER! finish TEXT!"
    " answer TEXT answer_raw TEXT extraction_method TEXT! extraction_problem TEXT n_prompt INTEGER! n_tokens INTEGER!"
    " n_steps INTEGER! n_probe_tokens INTEGER! mean_entropy REAL max_entropy REAL mean_surprisal REAL log_prob REAL!"
    " text TEXT! n_given INTEGER!",
    "calibrations": "run_id TEXT! signal TEXT! method TEXT! n INTEGER! n_problems INTEGER! n_wrong INTEGER! brier REAL!"
    " brier_base REAL! ece REAL! figures TEXT!",
    "checks": "session_id INTEGER! part TEXT! name TEXT! value TEXT number REAL unit TEXT ok INTEGER note TEXT",
    "verdicts": "study_id TEXT! task TEXT! subject TEXT! claim TEXT! verdict TEXT! effect REAL low REAL high REAL"
    " unit TEXT! test TEXT! p REAL n INTEGER! n_problems INTEGER! selected INTEGER! runs TEXT! note TEXT! p_holm REAL"
    " claim_key TEXT",
}
VIEWS = {
    "ideal_steps": "task problem_id k observation ideal_entropy ideal_gain n_answers",
    "run_summary": "run_id model quant bits_per_weight task temperature seed lanes n_traces n_problems accuracy"
    " extraction_failure_rate truncation_rate n_tokens n_probe_tokens mean_tokens mean_steps mean_entropy_right"
    " mean_entropy_wrong answer_entropy_half_right answer_entropy_half_wrong started ended seconds",
    "step_entropy": "trace_id run_id model quant task problem_id sample correct estimator k position n_tokens entropy"
    " entropy_lower entropy_upper residual invalid p_true log_p_true leader true_answer leader_true step_mean_entropy"
    " step_max_entropy step_mean_surprisal step_text control n_rollouts",
    "step_importance": "trace_id run_id model quant task problem_id sample correct first_k k n_before n_after shift"
    " shift_se p_true_before p_true_after p_true_change p_true_change_se step_text",
    "trace_summary": "trace_id run_id model quant task problem_id source_id sample correct finish answer true_answer"
    " extraction_problem problem_steps n_prompt n_tokens n_steps n_probe_tokens mean_entropy max_entropy mean_surprisal"
    " log_prob answer_entropy_first answer_entropy_half answer_entropy_last p_true_first p_true_half p_true_last"
    " n_given",
}


def columns(path: Path, relation: str) -> list[tuple]:
    return sql(path, f"""select name, upper(type), "notnull" or pk from pragma_table_info('{relation}') order by cid""")


def test_tables_are_these_and_change_only_on_purpose(db):
    """Changing this literal means adding a migration."""
    found = {name for (name,) in sql(db.path, "select name from sqlite_master where type = 'table'")}
    assert found == set(SCHEMA)
    for table, expected in SCHEMA.items():
        listed = [f"{name} {kind}{'!' if required else ''}" for name, kind, required in columns(db.path, table)]
        assert " ".join(listed) == expected, table


def test_views_are_these_and_change_only_on_purpose(db):
    assert {name for (name,) in sql(db.path, "select name from sqlite_master where type = 'view'")} == set(VIEWS)
    for view, expected in VIEWS.items():
        assert " ".join(name for name, *_ in columns(db.path, view)) == expected, view


def test_every_table_is_strict_and_states_its_units(db):
    for (text,) in sql(db.path, "select sql from sqlite_master where type = 'table'"):
        assert text.endswith((") strict", ") strict, without rowid"))
    (tokens,) = sql(db.path, "select sql from sqlite_master where name = 'tokens'")
    assert "varentropy real not null,            -- nats squared" in tokens[0]


def test_migrations_start_from_version_1_and_keep_its_rows(db, monkeypatch):
    """A file of version 1 gets a later migration's column, its views rebuilt, and loses nothing."""
    db.add_trace(RUN.run_id, a_trace())
    before = tables(db.path)
    db.close()

    def newest(conn):
        conn.execute("alter table tasks add column licence text")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, newest))
    monkeypatch.setattr("localent.store.connect.MIGRATIONS", migrations.MIGRATIONS)
    with open_db(db.path) as newer:
        assert newer.trace(rows.trace_id(RUN.run_id, "00", 0)) == a_trace()
        assert newer.runs()[0]["n_traces"] == 1
    assert sql(db.path, "pragma user_version") == [(len(migrations.MIGRATIONS),)]
    assert tables(db.path) == before | {"tasks": [("sums", "number", "made up", None)]}


def test_failed_migration_leaves_the_file_as_it_was(db, monkeypatch):
    db.close()
    before = sql(db.path, "select * from sqlite_master order by name")

    def broken(conn):
        conn.execute("drop table answers")
        raise RuntimeError("no")

    version = sql(db.path, "pragma user_version")
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
    monkeypatch.setattr("localent.store.connect.MIGRATIONS", migrations.MIGRATIONS)
    with pytest.raises(RuntimeError):
        open_db(db.path)
    assert sql(db.path, "select * from sqlite_master order by name") == before
    assert sql(db.path, "pragma user_version") == version


# --- round trip -----------------------------------------------------------------------------------------------


def test_every_record_comes_back_equal(db):
    db.add_trace(RUN.run_id, a_trace())
    assert db.model(MODEL.sha256) == MODEL
    assert db.problems("sums") == [NUMBER, CHOICE]
    assert db.problems("sums", traced=True) == [NUMBER]  # that of problem 00
    assert db.run(RUN.run_id) == RUN
    assert db.trace(rows.trace_id(RUN.run_id, "00", 0)) == a_trace()


def test_alternatives_come_back_with_their_tokens(db):
    others = (Alternative(7, "x", 0.5), Alternative(8, "\ufffd", 0.25))
    trace = with_token(alternatives=others)
    db.add_trace(RUN.run_id, trace)
    assert db.trace(rows.trace_id(RUN.run_id, "00", 0)) == trace
    found = sql(db.path, "select token_index, alternative_rank, text from alternatives")
    assert found == [(5, 1, "x"), (5, 2, "\ufffd")]


def test_a_file_of_version_1_gets_the_tables_that_came_later(tmp_path, monkeypatch):
    with monkeypatch.context() as old:
        for place in ("migrations", "connect", "db"):
            old.setattr(f"localent.store.{place}.MIGRATIONS", (migrations.first,))
        old.setattr(migrations, "VIEWS", {})  # today's views need columns of today
        filled(tmp_path / "old.db").close()
    with open_db(tmp_path / "old.db") as db:
        db.add_trace(RUN.run_id, a_trace())
    assert sql(tmp_path / "old.db", "select count(*) from alternatives") == [(0,)]


def test_the_claims_of_a_file_of_version_7_get_their_keys(tmp_path, monkeypatch):
    """Also those about one control, whose names are open; a wording that no version had has none."""
    wordings = ("gain by half of the steps", "exceeds control: filler", "wishes come true")
    with monkeypatch.context() as old:
        for place in ("migrations", "connect", "db"):
            old.setattr(f"localent.store.{place}.MIGRATIONS", migrations.MIGRATIONS[:7])
        old.setattr(migrations, "VIEWS", {})  # today's views need columns of today
        filled(tmp_path / "old.db").close()
    values = "'supported', 1.0, 0.5, 1.5, 'nats', 't', 0.01, 9, 9, 0, '[]', '', null"
    for claim in wordings:
        sql(tmp_path / "old.db", f"insert into verdicts values ('s', 'sums', 'demo', ?, {values})", claim)
    with open_db(tmp_path / "old.db") as db:
        found = {row["claim"]: row["claim_key"] for row in db.verdicts()}
    assert found == dict(zip(wordings, ("gain_by_half", "exceeds_control:filler", None), strict=True))


def of_version_6(path: Path) -> Path:
    """A file as version 6 wrote it: probes of both kinds, controls of each, rollouts by 16 and by 150."""
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript((Path(__file__).parent / "version_6.sql").read_text("utf-8"))
    return path


def test_a_file_of_version_6_keeps_every_value(tmp_path):
    path = of_version_6(tmp_path / "old.db")
    since = {"ideal_steps", "step_importance"}
    before, views = tables(path), {view: sql(path, f"select * from {view}") for view in VIEWS.keys() - since}
    open_db(path).close()
    after = tables(path)
    for table, came_later in {"problems": (None,) * 4, "tokens": (0,), "traces": (0,)}.items():
        assert {row[-len(came_later) :] for row in after[table]} == {came_later}
        after[table] = [row[: -len(came_later)] for row in after[table]]
    after["probes"] = [row[:-4] for row in after["probes"]]
    for table in ("calibrations", "texts", "text_tokens", "attempts"):
        assert after.pop(table) == []
    assert after == before
    for view, rows_ in views.items():
        width = len(rows_[0])
        assert [row[:width] for row in sql(path, f"select * from {view}")] == rows_


def test_controls_and_rollouts_of_a_file_of_version_6_get_columns_of_their_own(tmp_path):
    path = of_version_6(tmp_path / "old.db")
    with open_db(path) as db:
        traces = [db.trace(trace_id) for (trace_id,) in sql(path, "select trace_id from traces")]
    found = sql(path, "select distinct estimator, control, n_rollouts from probes order by 1, 2, 3")
    assert found == [
        ("choice", None, None),
        ("choice:none", "none", None),
        ("number", None, None),
        ("number:other-question", "other-question", None),
        ("number:shuffled", "shuffled", None),
        ("rollout", None, 16),
        ("rollout", None, 150),
    ]
    read = {(p.estimator, p.control, p.n_rollouts, p.own) for trace in traces for p in trace.probes}
    assert read == {(name.partition(":")[0], control, m, name in ("number", "choice")) for name, control, m in found}


def test_a_control_comes_back_as_it_was_written_and_keeps_its_name_in_sql(db):
    own = a_trace().probes
    control = replace(own[1], control="shuffled", p_true=0.125, answers=(Answer("7", 0.5),))
    rolled = replace(own[1], estimator="rollout", n_rollouts=16)
    trace = a_trace(probes=(own[0], own[1], control, rolled, own[2]))
    db.add_trace(RUN.run_id, trace)
    assert db.trace(rows.trace_id(RUN.run_id, "00", 0)) == trace
    assert trace.own_probes == own
    found = sql(db.path, "select estimator, control, n_rollouts from step_entropy where k = 1 order by 1")
    assert found == [("number", None, None), ("number:shuffled", "shuffled", None), ("rollout", None, 16)]


def test_tokens_from_outside_are_kept_and_count_for_nothing(db):
    trace = a_trace()
    tokens = tuple(replace(token, given=i in (0, 1)) for i, token in enumerate(trace.tokens))
    db.add_trace(RUN.run_id, replace(trace, tokens=tokens))
    assert db.trace(rows.trace_id(RUN.run_id, "00", 0)).tokens == tokens
    own = [token for token in tokens if not token.given]
    (row,) = db.query("select * from traces")
    assert (row["n_tokens"], row["n_given"]) == (4, 2)
    assert row["mean_entropy"] == pytest.approx(sum(token.entropy for token in own) / 4)
    assert row["log_prob"] == pytest.approx(-sum(token.surprisal for token in own))
    assert db.first("select mean_entropy from steps where step_index = 0") == {"mean_entropy": None}
    assert db.generated(RUN.run_id, ("token_index", "text"))["token_index"] == [2, 3, 4, 5]
    assert db.given(RUN.run_id) == {"trace_id": [row["trace_id"]] * 2, "token_index": [0, 1]}
    assert len(db.tokens(RUN.run_id, ("token_id",))["token_id"]) == 6


def test_empty_trace_comes_back_equal(db):
    read = Extraction(None, None, "none", "no number in the text")
    empty = a_trace(text="", finish="length", extraction=read, correct=False, tokens=(), steps=(), probes=())
    db.add_trace(RUN.run_id, empty)
    assert db.trace(rows.trace_id(RUN.run_id, "00", 0)) == empty
    assert db.runs()[0]["extraction_failure_rate"] == db.runs()[0]["truncation_rate"] == 1.0


@pytest.mark.parametrize(
    "pieces",
    [
        [b"a", EURO[:1], EURO[1:2], EURO[2:], b"b"],  # one character over three tokens
        [b"a", EURO[:2]],  # cut off in a character
        [EURO[:2], b"b", b"\xff", b""],  # bytes that are no UTF-8
        ["\ufffd".encode(), b"\x00", b"\r\n"],
    ],
)
def test_pieces_come_back_to_the_byte_and_their_text_joins_up(db, pieces):
    """`select text from tokens` reads as the trace does, and no byte is lost."""
    text = b"".join(pieces).decode(errors="replace")
    trace = a_trace(text=text, tokens=tuple(map(a_token, pieces)), steps=(), probes=())
    db.add_trace(RUN.run_id, trace)
    key = rows.trace_id(RUN.run_id, "00", 0)
    assert [token.text for token in db.trace(key).tokens] == pieces
    assert "".join(text for (text,) in sql(db.path, "select text from tokens order by token_index")) == text


def test_whole_characters_need_no_piece(db):
    db.add_trace(RUN.run_id, a_trace())
    found = sql(db.path, "select text, piece from tokens order by token_index")
    assert found == [("Step 1:", None), (" 9 ", None), ("", EURO[:1]), ("€", EURO[1:]), ("\n", None), ("18", None)]


def test_trace_id_is_53_bits_of_a_hash():
    """`printf r/p/0 | sha256sum` begins ced8500f3a750f07; 53 bits survive JSON and JavaScript."""
    assert rows.trace_id("r", "p", 0) == 0xCED8500F3A750F07 >> 11 == 7277710445858465
    ids = {rows.trace_id("r", "p", sample) for sample in range(1000)}
    assert len(ids) == 1000
    assert max(ids) < 2**53


def test_floats_land_as_real_and_flags_as_integers(db):
    db.add_trace(RUN.run_id, a_trace())
    assert sql(db.path, "select distinct typeof(entropy), typeof(self_certainty) from tokens") == [("real", "real")]
    assert sql(db.path, "select typeof(correct), correct from traces") == [("integer", 1)]


# --- views ----------------------------------------------------------------------------------------------------


def test_trace_summary_sums_the_tokens_and_reads_the_probes(db):
    db.add_trace(RUN.run_id, a_trace())
    found = {name: values[0] for name, values in db.traces(RUN.run_id).items()}
    assert (found["n_tokens"], found["n_steps"], found["n_probe_tokens"]) == (6, 2, 33)
    assert (found["mean_entropy"], found["max_entropy"]) == (2.5, 5.0)
    assert found["log_prob"] == pytest.approx(-1.5)
    assert found["mean_surprisal"] == pytest.approx(0.25)
    assert [found[f"answer_entropy_{at}"] for at in ("first", "half", "last")] == [1.0, 0.75, 0.5]
    assert [found[f"p_true_{at}"] for at in ("first", "half", "last")] == [0.0, 0.25, 0.5]
    assert (found["model"], found["true_answer"], found["correct"]) == ("demo", "18", 1)


def test_step_entropy_pairs_each_prefix_with_the_step_it_ends_with(db):
    db.add_trace(RUN.run_id, a_trace())
    found = db.probes(RUN.run_id)
    assert found["k"] == [0, 1, 2]
    assert found["leader_true"] == [0, 0, 1]
    assert found["step_mean_entropy"] == [None, 0.5, 3.0]
    assert found["step_text"] == [None, "Step 1: 9 ", "€\n"]
    assert found["log_p_true"] == [None, math.log(0.25), math.log(0.5)]


def test_run_summary_splits_right_from_wrong(db):
    db.add_trace(RUN.run_id, a_trace())
    tokens = tuple(a_token(b"x", entropy=4.0) for _ in range(2))
    db.add_trace(RUN.run_id, a_trace(sample=1, correct=False, tokens=tokens, steps=(), probes=()))
    (found,) = db.runs()
    assert (found["accuracy"], found["n_traces"], found["n_problems"], found["n_tokens"]) == (0.5, 2, 1, 8)
    assert (found["mean_entropy_right"], found["mean_entropy_wrong"]) == (2.5, 4.0)
    assert (found["answer_entropy_half_right"], found["answer_entropy_half_wrong"]) == (0.75, None)


def test_run_without_traces_is_listed(db):
    (found,) = db.runs()
    assert (found["run_id"], found["n_traces"], found["n_tokens"], found["accuracy"]) == (RUN.run_id, 0, 0, None)
    assert found["extraction_failure_rate"] is None


def test_columns_come_in_one_order_however_they_were_written(db):
    for problem_id, sample in [("01", 1), ("00", 1), ("01", 0), ("00", 0)]:
        db.add_trace(RUN.run_id, a_trace(problem_id, sample))
    found = db.traces(RUN.run_id, ["problem_id", "sample"])
    assert list(zip(*found.values(), strict=True)) == [("00", 0), ("00", 1), ("01", 0), ("01", 1)]
    assert db.tokens(RUN.run_id, ["entropy"]) == {"entropy": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] * 4}
    assert db.steps(RUN.run_id, ["step_index"]) == {"step_index": [0, 1, 2] * 4}
    with pytest.raises(UsageError, match="tokens has no column 'entropi'; it has trace_id"):
        db.tokens(RUN.run_id, ["entropi"])


# --- writing twice, and in any order --------------------------------------------------------------------------


def test_writing_twice_changes_nothing(db):
    db.add_trace(RUN.run_id, a_trace())
    before = tables(db.path)
    db.add_model(MODEL)
    db.add_task("sums", "number", source="made up")
    db.add_problems("sums", [NUMBER, CHOICE])
    db.add_run(RUN)
    db.add_trace(RUN.run_id, a_trace())
    assert tables(db.path) == before


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda db: db.add_model(replace(MODEL, n_vocab=1)), "model a+ with another n_vocab"),
        (lambda db: db.add_task("sums", "choice", source="made up"), "task sums with another kind"),
        (lambda db: db.add_problems("sums", [replace(NUMBER, answer="19")]), "problem sums/00 with another answer"),
        (lambda db: db.add_run(replace(RUN, build={"localent": "0.2"})), "run 0123456789ab with another build"),
        (lambda db: db.add_trace(RUN.run_id, a_trace(text="other")), "with other traces"),
        (lambda db: db.add_trace(RUN.run_id, with_token(entropy=0.1)), "with other traces"),
        (lambda db: db.add_trace(RUN.run_id, with_token(margin=1.0)), "with other tokens"),
        (lambda db: db.add_trace(RUN.run_id, with_probe(answers=())), "with other answers"),
    ],
)
def test_other_content_under_one_key_is_refused_and_the_old_kept(db, write, says):
    db.add_trace(RUN.run_id, a_trace())
    before = tables(db.path)
    with pytest.raises(LocalentError, match=says):
        write(db)
    assert tables(db.path) == before


def test_moved_model_keeps_its_name_and_shows_its_new_path(db):
    db.add_model(replace(MODEL, name="copy", path="/elsewhere/copy.gguf"))
    assert db.model(MODEL.sha256) == replace(MODEL, path="/elsewhere/copy.gguf")


def test_probes_of_several_estimators_may_come_in_any_order(db):
    numbers = a_trace().probes
    probes = tuple(replace(probe, estimator=name, n_fed=9) for probe in numbers for name in ("rollout", "a"))
    db.add_trace(RUN.run_id, a_trace(probes=probes + numbers))
    db.add_trace(RUN.run_id, a_trace(probes=numbers + probes[::-1]))
    assert db.probes(RUN.run_id, ["estimator"])["estimator"] == ["a", "number", "rollout"] * 3
    assert db.traces(RUN.run_id, ["answer_entropy_half"]) == {"answer_entropy_half": [0.75]}


def test_two_files_written_in_other_orders_are_equal_table_by_table(tmp_path):
    traces = [a_trace(problem, sample) for problem in ("00", "01") for sample in range(5)]
    paths = [tmp_path / "forth.db", tmp_path / "back.db"]
    for path, order in zip(paths, (traces, traces[::-1]), strict=True):
        with filled(path) as db:
            session = db.start_session(RUN.run_id)
            for trace in order:
                db.add_trace(RUN.run_id, trace, session_id=session)
            db.end_session(session)
    assert tables(paths[0]) == tables(paths[1])
    assert len(tables(paths[0])["tokens"]) == 60


def test_deleting_a_run_is_one_statement(db):
    db.add_trace(RUN.run_id, a_trace(), session_id=db.start_session(RUN.run_id))
    sql(db.path, "delete from runs")
    left = {table for table in SCHEMA if sql(db.path, f"select * from {table}")}
    assert left == {"models", "tasks", "problems"}


# --- what must not get in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (with_token(entropy=np.float32(1.0)), r"tokens.entropy: expected float or int, got numpy.float32"),
        (with_token(margin=np.float64(1.0)), r"tokens.margin: .* numpy.float64"),
        (with_token(rank=np.int64(1)), r"tokens.rank: expected int, got numpy.int64"),
        (with_token(token_id=True), r"tokens.token_id: expected int, got builtins.bool"),
        (with_token(topk_bias=np.float64(1.0)), r"tokens.topk_bias"),
        (a_trace(correct=np.bool_(True)), r"Trace.correct: expected bool, got numpy.bool"),
        (a_trace(correct=1), r"Trace.correct: expected bool, got builtins.int"),
        (a_trace(sample=np.int64(0)), r"traces.sample"),
        (a_trace(text=np.str_("x")), r"traces.text: expected str, got numpy.str_"),
        (with_probe(p_true=np.float64(0.5)), r"probes.p_true"),
        (with_probe(answers=(Answer("1", np.float32(0.5)),)), r"answers.prob"),
        (with_token(entropy=None), r"tokens.entropy: expected float or int, got builtins.NoneType"),
    ],
)
def test_other_types_are_refused(db, trace, says):
    """numpy.float64 is a float, yet it is refused too: what else the record holds would be numpy's."""
    with pytest.raises(TypeError, match=says):
        db.add_trace(RUN.run_id, trace)
    assert db.finished(RUN.run_id) == set()


@pytest.mark.parametrize(
    "trace",
    [
        with_token(entropy=math.nan),
        with_token(topk_bias=math.nan),
        with_probe(residual=math.nan),
        with_probe(answers=(Answer("1", math.nan),)),
    ],
)
def test_nan_is_refused(db, trace):
    """SQLite would make null of it."""
    with pytest.raises(ValueError, match="got NaN"):
        db.add_trace(RUN.run_id, trace)
    assert db.finished(RUN.run_id) == set()


@pytest.mark.parametrize("value", [np.float64(0.7), np.int64(1), np.bool_(True), {1, 2}])
def test_settings_are_plain_json(db, value):
    with pytest.raises(TypeError, match="expected a JSON value"):
        db.add_run(replace(RUN, run_id="other", settings={"temperature": value}))


def test_a_lone_surrogate_is_refused_in_words(db):
    """A lone surrogate, as json.loads makes of "\\ud83d", has no UTF-8."""
    with pytest.raises(UsageError, match=r"Invalid Unicode \(lone surrogate\) in .*broken .*ud83d"):
        db.add_problems("sums", [replace(NUMBER, problem_id="02", question=json.loads('"broken \\ud83d here"'))])
    assert len(db.problems("sums")) == 2


def test_a_number_beyond_sqlite_is_refused_in_words(db):
    with pytest.raises(UsageError, match=r"holds whole numbers below 2\^63 only"):
        db.add_problems("sums", [replace(NUMBER, problem_id="02", n_steps=2**63)])
    assert len(db.problems("sums")) == 2


def test_a_problem_whose_line_has_moved_is_the_same_problem(db):
    db.add_problems("sums", [replace(NUMBER, source_id="line 99")])
    assert db.problems("sums")[0].source_id == NUMBER.source_id


def test_what_a_problem_is_a_variant_of_is_what_was_given_last(db):
    """Nothing that is stored depends on it; where nothing is given, what is known stays."""
    for given, wanted in ((None, None), ("a", "a"), (None, "a"), ("b", "b")):
        db.add_problems("sums", [replace(NUMBER, variant_of=given)])
        assert [p.variant_of for p in db.problems("sums")] == [wanted, None]


def test_problems_are_added_all_or_none(db):
    with pytest.raises(LocalentError, match="another answer"):
        db.add_problems("sums", [replace(NUMBER, problem_id="02"), replace(NUMBER, answer="19")])
    assert len(db.problems("sums")) == 2


def test_trace_of_an_unknown_run_or_problem_is_refused(db):
    with pytest.raises(UsageError, match="No run 'nope'"):
        db.add_trace("nope", a_trace())
    with pytest.raises(LocalentError, match="add the problem first"):
        db.add_trace(RUN.run_id, a_trace("99"))


# --- runs and sessions ----------------------------------------------------------------------------------------


def test_finished_lists_what_a_resume_may_skip(db):
    db.add_trace(RUN.run_id, a_trace("01", 3))
    assert db.finished(RUN.run_id) == {("01", 3)}


def test_find_run_ignores_lanes_so_that_a_resume_takes_the_recorded_count(db):
    settings = RUN.settings | {"lanes": 32}
    assert db.find_run(MODEL.sha256, "sums", settings) == RUN
    assert db.find_run(MODEL.sha256, "sums", settings, RUN.build) == RUN
    assert db.find_run(MODEL.sha256, "sums", settings, {"localent": "0.2"}) is None
    assert db.find_run(MODEL.sha256, "sums", settings, ignoring=()) is None
    assert db.find_run(MODEL.sha256, "sums", settings | {"seed": 2}) is None
    assert db.find_run(MODEL.sha256, "sums", settings | {"seed": True}) is None  # True == 1, but is another setting
    assert db.find_run("c" * 64, "sums", settings) is None


def test_find_run_prefers_the_run_last_worked_on(db):
    other = replace(RUN, run_id="ff", settings=RUN.settings | {"lanes": 16})
    db.add_run(other)
    db.start_session(RUN.run_id)
    assert db.find_run(MODEL.sha256, "sums", RUN.settings) == RUN
    time.sleep(0.002)
    db.start_session("ff")
    assert db.find_run(MODEL.sha256, "sums", RUN.settings) == other


def test_run_is_found_by_the_beginning_of_its_id(db):
    db.add_run(replace(RUN, run_id="0123ff"))
    assert db.run("01234") == RUN
    with pytest.raises(UsageError, match=r"2 runs .* begin with '0123'"):
        db.run("0123")
    with pytest.raises(UsageError, match="No run '%'"):
        db.run("%")


def test_settings_show_as_columns(db):
    assert sql(db.path, "select temperature, seed, lanes, top_p from runs") == [(0.7, 1, 8, None)]


def test_session_counts_only_what_it_wrote(db):
    session = db.start_session(RUN.run_id, host="laptop", n_todo=2)
    db.add_trace(RUN.run_id, a_trace(), session_id=session)
    db.add_trace(RUN.run_id, a_trace(), session_id=session)
    counts = "select host, closed, n_traces, n_tokens, n_probe_tokens, n_todo from sessions"
    assert sql(db.path, counts) == [("laptop", 0, 1, 6, 33, 2)]
    db.end_session(session)
    ((closed, started, ended, seconds),) = sql(db.path, "select closed, started, ended, seconds from sessions")
    assert closed == 1
    assert started <= ended
    assert 0 <= seconds < 60


# --- files that are not a database of ours --------------------------------------------------------------------


def test_file_of_a_newer_version_is_refused_untouched(db):
    db.close()
    sql(db.path, "pragma user_version = 99")
    before = db.path.read_bytes()
    with pytest.raises(UsageError, match="made by a newer localent"):
        open_db(db.path)
    assert db.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"GGUF" * 1000, b"a text file\n", os.urandom(4096)])
def test_file_that_is_not_sqlite_is_refused_untouched(tmp_path, content):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not an SQLite database"):
        open_db(path)
    assert path.read_bytes() == content


def test_database_of_another_program_is_refused_untouched(tmp_path):
    path = tmp_path / "llm.db"
    sql(path, "create table logs (id)")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="another program's SQLite database"):
        open_db(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["llm.db"]


def test_empty_file_becomes_a_database(tmp_path):
    """As tempfile makes it."""
    path = tmp_path / "empty.db"
    path.touch()
    with filled(path) as db:
        assert len(db.runs()) == 1


def test_missing_places_are_named(tmp_path):
    with pytest.raises(UsageError, match="No database"):
        open_db(tmp_path / "none.db", create=False)
    with pytest.raises(UsageError, match="No folder"):
        open_db(tmp_path / "none" / "runs.db")
    with pytest.raises(UsageError, match="is a folder"):
        open_db(tmp_path)
    assert os.listdir(tmp_path) == []


def test_names_that_mean_something_in_a_url_are_only_names(tmp_path):
    path = tmp_path / "a?mode=ro#50%25 é.db"
    filled(path).close()
    assert path.exists()


def test_read_only_file_is_refused_for_writing(open_folder):
    path = open_folder / "runs.db"
    filled(path).close()
    with without_permission(open_folder, path), open_db(path) as db:
        assert len(db.runs()) == 1
        with pytest.raises(LocalentError, match="is read-only"):
            db.add_trace(RUN.run_id, a_trace())


def test_read_only_folder_is_refused_for_writing_and_fine_for_reading(open_folder):
    path = open_folder / "runs.db"
    with filled(path) as db:
        db.add_trace(RUN.run_id, a_trace())
    path.chmod(0o666)
    with without_permission(open_folder, open_folder):
        with pytest.raises(LocalentError, match=f"{open_folder} is read-only"):
            open_db(path)
        with pytest.raises(LocalentError, match=f"make {open_folder} writable"):
            open_db(open_folder / "new.db")
        with open_db(path, readonly=True) as db:
            assert db.trace(rows.trace_id(RUN.run_id, "00", 0)) == a_trace()


def test_an_older_file_is_brought_up_to_date_before_it_is_read(tmp_path):
    """Also by a command that only reads."""
    path = of_version_6(tmp_path / "old.db")
    with open_db(path, readonly=True) as db:
        assert db.runs()
    assert sql(path, "pragma user_version") == [(len(migrations.MIGRATIONS),)]


def test_an_older_file_that_cannot_be_written_is_refused_with_a_way_out(open_folder):
    path = of_version_6(open_folder / "old.db")
    with (
        without_permission(open_folder, path, open_folder),
        pytest.raises(UsageError, match="copy it and read the copy"),
    ):
        open_db(path, readonly=True)


def test_readonly_cannot_write(db):
    with open_db(db.path, readonly=True) as reading, pytest.raises(LocalentError, match="is read-only"):
        reading.add_trace(RUN.run_id, a_trace())


# --- a bad day ------------------------------------------------------------------------------------------------


def test_full_disk_loses_only_the_trace_in_flight(db):
    db.add_trace(RUN.run_id, a_trace())
    (pages,) = db.conn.execute("pragma page_count").fetchone()
    db.conn.execute(f"pragma max_page_count = {pages}")
    long = a_trace(sample=1, tokens=tuple(a_token(b"x") for _ in range(2000)), steps=(), probes=())
    before = tables(db.path)
    with pytest.raises(LocalentError, match="The disk is full"):
        db.add_trace(RUN.run_id, long)
    assert tables(db.path) == before
    db.conn.execute("pragma max_page_count = 100000")
    db.add_trace(RUN.run_id, long)
    assert db.finished(RUN.run_id) == {("00", 0), ("00", 1)}


def test_interrupt_in_a_transaction_leaves_nothing_and_the_next_write_works(db, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    session = db.start_session(RUN.run_id)
    with monkeypatch.context() as patch:
        patch.setattr(db, "_count", interrupted)
        with pytest.raises(KeyboardInterrupt):
            db.add_trace(RUN.run_id, a_trace(), session_id=session)
    assert db.finished(RUN.run_id) == set()
    db.add_trace(RUN.run_id, a_trace())
    assert db.finished(RUN.run_id) == {("00", 0)}


def test_switch_to_wal_is_tried_again():
    """Where several processes make one file at once, SQLite gives up at once instead of waiting: a deadlock is near."""
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorname = "SQLITE_BUSY"
    answers = [[("delete",)], busy, [("delete",)], busy, [("delete",)], [("wal",)], [("wal",)]]

    class Contended:
        def execute(self, _):
            answer = answers.pop(0)
            if answer is busy:
                raise busy
            return SimpleNamespace(fetchone=lambda: answer[0])

    enable_wal(Contended(), Path("runs.db"))
    assert answers == []


def test_lock_held_by_another_is_waited_for_then_named(db, monkeypatch):
    db.conn.execute("pragma busy_timeout = 50")
    with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(LocalentError, match="Another program has locked"):
            db.add_trace(RUN.run_id, a_trace())
    db.add_trace(RUN.run_id, a_trace())


WRITE_FOREVER = """
    import itertools, sys
    from helpers.stored import RUN, a_token, a_trace
    from localent.store import open_db
    tokens = tuple(a_token(b"x") for _ in range(500))
    with open_db(sys.argv[1]) as db:
        print("ready", flush=True)
        for sample in itertools.count(int(sys.argv[2])):
            db.add_trace(RUN.run_id, a_trace(sample=sample, tokens=tokens))
"""


def python(code: str, *args: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}, text=True)


def test_kill_leaves_whole_traces_only(tmp_path):
    """kill -9 at several moments: each trace that is there has all its rows, and the next process writes on."""
    path = tmp_path / "runs.db"
    filled(path).close()
    for attempt in range(4):
        with python(WRITE_FOREVER, path, attempt * 100_000) as process:
            assert process.stdout.readline() == "ready\n"
            while not sql(path, f"select 1 from traces where sample > {attempt * 100_000} limit 1"):
                assert process.poll() is None
            time.sleep(0.05 + 0.037 * attempt)
            process.kill()
    counts = sql(path, "select n_tokens, (select count(*) from tokens where trace_id = t.trace_id) from traces t")
    assert len(counts) > 4
    assert set(counts) == {(500, 500)}
    assert sql(path, "select count(*) from probes") == [(3 * len(counts),)]
    assert sql(path, "pragma integrity_check") == [("ok",)]
    assert sql(path, "pragma foreign_key_check") == []


WRITE_SOME = """
    import sys
    from helpers.stored import RUN, a_trace, filled
    with filled(sys.argv[1]) as db:
        for sample in range(40):
            db.add_trace(RUN.run_id, a_trace(sample=sample + 20 * int(sys.argv[2])))
"""


def test_several_processes_make_and_fill_one_file(tmp_path):
    """All begin with no file at all, and half of their traces are the same."""
    path = tmp_path / "runs.db"
    processes = [python(WRITE_SOME, path, number) for number in range(4)]
    with open_once_there(path) as reading:
        seen = len(reading.finished(RUN.run_id)) if reading.runs() else 0
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert len(sql(path, "select * from traces")) == 100 >= seen


def open_once_there(path: Path):
    """A reader beside the writers, as soon as there is something to read."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return open_db(path, readonly=True)
        except UsageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


# --- other tools ----------------------------------------------------------------------------------------------


def test_pandas_opens_the_file(db):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    db.add_trace(RUN.run_id, a_trace())
    with closing(sqlite3.connect(db.path)) as conn:
        frame = pandas.read_sql_query("select * from tokens join traces using (trace_id)", conn)
    assert frame.entropy.dtype == np.float64
    assert frame.entropy.sum() == 15.0


def test_duckdb_opens_the_file(db):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    db.add_trace(RUN.run_id, a_trace())
    db.close()
    with duckdb.connect() as conn:
        try:
            conn.execute("install sqlite")
            conn.execute("load sqlite")
        except duckdb.Error as error:
            pytest.skip(f"DuckDB cannot fetch its sqlite extension here: {str(error).splitlines()[0]}")
        conn.execute(f"attach '{db.path}' as runs (type sqlite)")
        assert conn.execute("select sum(entropy), count(*) from runs.tokens").fetchall() == [(15.0, 6)]
        assert conn.execute("select n_traces, accuracy from runs.run_summary").fetchall() == [(1, 1.0)]
        assert conn.execute("select leader_true, p_true from runs.step_entropy").fetchall()[-1] == (1, 0.5)


def test_the_same_connection_serves_sqlite_utils(tmp_path):
    with open_db(tmp_path / "a.db") as db:
        assert {"traces", "tokens", "probes"} <= set(db.utils.table_names())
        assert "run_summary" in db.utils.view_names()


@pytest.mark.parametrize("vfs", ["unix-none", "unix-dotfile"])
def test_a_place_without_shared_memory_is_told_and_not_waited_for(tmp_path, vfs, monkeypatch):
    """As a network share: SQLite says no to WAL and gives no reason."""
    monkeypatch.setattr(connect, "NO_WAL_S", 0.05)
    plain = sqlite3.connect

    def other(address, **options):
        return plain(f"{address}&vfs={vfs}", **options)

    monkeypatch.setattr(connect.sqlite3, "connect", other)
    with pytest.raises(LocalentError, match=r"lacks the locks or the shared memory .* keep .* on a disk"):
        open_db(tmp_path / "runs.db")
