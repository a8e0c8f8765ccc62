"""A database to give away: no folders, no machines, not even in its free pages."""

from __future__ import annotations

import platform
import shutil

import pytest
from helpers.made import made
from helpers.runs import call
from helpers.stored import sql, tables

from localent.errors import UsageError
from localent.store.check import check
from localent.store.scrub import scrub

SECRETS = ("/home/ann.author/models", "/home/ann.author", "ann.author", "calc-node-17", r"C:\Users\ann")


@pytest.fixture
def private(tmp_path):
    path = tmp_path / "a.db"
    run, _ = made(path, n_runs=2, n_problems=4)
    sql(
        path,
        "update models set path = '/home/ann.author/models/sft.gguf', name = '/home/ann.author/models/x' || sha256",
    )
    sql(path, r"update models set path = 'C:\Users\ann\m.gguf' where rowid = 1")
    sql(path, "update tasks set source = '/home/ann.author/data/sums.jsonl'")
    sql(path, "update sessions set host = 'calc-node-17'")
    where = "select session_id, 'model', 'file', '/home/ann.author/models/sft.gguf', null, null, 1, 'on calc-node-17.'"
    sql(path, f"insert into checks {where} from sessions")
    return path, run


def test_a_copy_tells_no_folder_and_no_machine(private, tmp_path):
    path, _ = private
    scrub(path, tmp_path / "public.db")
    raw = b"".join(file.read_bytes() for file in tmp_path.glob("public.db*"))
    for secret in (*SECRETS, str(tmp_path), platform.node()):
        assert secret.encode() not in raw, secret
    assert {row[0] for row in sql(tmp_path / "public.db", "select path from models")} == {"sft.gguf", "m.gguf"}
    assert sql(tmp_path / "public.db", "select value, note from checks")[0] == ("sft.gguf", "on somewhere.")
    assert check(tmp_path / "public.db") == []


def test_all_else_is_the_same(private, tmp_path):
    path, _ = private
    scrub(path, tmp_path / "public.db")
    before, after = tables(path), tables(tmp_path / "public.db")
    for name in ("problems", "runs", "traces", "tokens", "steps", "probes", "answers"):
        assert before[name] == after[name]
    scrub(tmp_path / "public.db", tmp_path / "again.db")
    assert tables(tmp_path / "again.db") == after


def test_the_address_of_a_data_set_stays(private, tmp_path):
    path, _ = private
    sql(path, "update tasks set source = 'https://example.org/data/sums'")
    scrub(path, tmp_path / "public.db")
    assert sql(tmp_path / "public.db", "select source from tasks") == [("https://example.org/data/sums",)]


def test_only_a_new_file_is_written(private):
    path, _ = private
    with pytest.raises(UsageError, match="exists already"):
        scrub(path, path)


def test_an_export_for_the_public_tells_neither(private, tmp_path, monkeypatch):
    path, run = private
    monkeypatch.chdir(tmp_path)
    assert call("export", run, "--db", path, "-o", "plain")[0] == 0
    assert call("export", run, "--db", path, "-o", "public", "--public")[0] == 0
    plain, public = (b"".join(f.read_bytes() for f in sorted((tmp_path / d).iterdir())) for d in ("plain", "public"))
    assert b"ann.author" in plain
    assert not any(secret.encode() in public for secret in SECRETS)
    shutil.rmtree(tmp_path / "public")


def test_the_command(private, tmp_path):
    path, _ = private
    code, out, _ = call("scrub", path, "-o", tmp_path / "public.db")
    assert code == 0
    assert "without folders and names of machines" in out
    assert call("scrub", path, "-o", tmp_path / "public.db")[0] == 2
