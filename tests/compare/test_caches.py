"""One model under several types of its cache: the reference's first, KLD by depth, each comparison its own."""

import json
from dataclasses import asdict

import pytest
from click.testing import CliRunner

from localent import cli, engine
from localent.cli import main
from localent.compare import Cache, Plan, compare_text
from localent.compare.plan import Source, comparison_id
from localent.errors import UsageError
from localent.files import identity
from localent.report import overview
from localent.store import open_db


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("Mia had 12 books and bought 7 more. How many books did she have then? " * 30)
    return path


def test_a_coarser_cache_is_further_from_f16_and_f16_is_itself(bundled, text, tmp_path):
    caches = tuple(map(Cache.named, ("f16", "f16", "q8_0", "q4_0", "q8_0/f16")))
    plan = Plan(ctx=256, limit=4, threads=1, noise=False, caches=caches)
    done = compare_text([str(bundled)], text, db=tmp_path / "c.db", plan=plan)
    same, q8, q4, mixed = (c.forced["Mean KLD"].value for c in done.candidates)
    assert same == 0.0 < q8 < q4
    assert 0 < mixed < q4
    assert done.names == ["KV f16", "KV q8_0", "KV q4_0", "KV q8_0/f16"]
    assert [group.n for group in done.candidates[1].forced.depths] == [c.n for c in done.candidates[2].forced.depths]
    with open_db(tmp_path / "c.db", readonly=True) as store:
        assert len(store.comparisons()) == 4
    shown = overview.render(done, 100)
    assert "KLD by depth" in shown
    assert "KV q4_0" in shown


def test_a_comparison_is_known_by_its_caches_and_by_nothing_new_without_them(bundled):
    model, source, plan = identity.identify(bundled).model, Source("text", "t", "0" * 16), Plan(threads=1)
    assert {name for name in asdict(plan) if name.startswith("cache")} == {"cache_type_k", "cache_type_v", "caches"}
    usual = comparison_id(model, model, source, plan)
    assert comparison_id(model, model, source, Plan(threads=1, cache_type_k="f16")) == usual
    assert comparison_id(model, model, source, Plan(threads=1, cache_type_k="q8_0")) != usual
    three = Plan(threads=1, caches=(Cache(), Cache("q8_0", "q8_0"), Cache("q4_0", "q4_0")))
    two = Plan(threads=1, caches=(Cache(), Cache("q4_0", "q4_0")))
    assert comparison_id(model, model, source, three, 2) == comparison_id(model, model, source, two, 1) != usual


def test_answers_under_another_cache_are_runs_of_their_own(bundled, tmp_path):
    options = ["--task", "demo-number", "-n", "2", "--lanes", "2", "--threads", "1", "--max-tokens", "40"]
    command = ["compare", str(bundled), "--cache-types", "f16,q4_0", *options, "--db", str(tmp_path / "t.db"), "--json"]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    (mine,) = found["candidates"]
    assert (mine["variant"], found["variant"]) == ("KV q4_0", "KV f16")
    assert mine["free"]["n"] == 2
    with open_db(tmp_path / "t.db", readonly=True) as store:
        settings = store.run(mine["run_id"]).settings
    assert (settings["cache_type_k"], settings["cache_type_v"]) == ("q4_0", "q4_0")
    assert json.loads(CliRunner().invoke(main, command).stdout) == found


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["m.gguf", "n.gguf", "--text", "t", "--cache-types", "f16,q8_0"], "compares one model under two types"),
        (["m.gguf", "--text", "t", "--cache-types", "f16"], "compares one model under two types"),
        (["m.gguf", "--text", "t", "--cache-types", "f16,q9"], "No cache type 'q9': there are f16, bf16"),
        (
            ["m.gguf", "--text", "t", "--cache-types", "f16,q8_0", "--cache-type-k", "q8_0"],
            "does not use --cache-type-k",
        ),
        (["m.gguf", "--kld-base", "t", "--cache-types", "f16,q8_0"], "leave --kld-base out"),
        (["m.gguf", "n.gguf", "--run", "0123", "--cache-type-k", "q8_0"], "--run does not use --cache-type-k"),
    ],
)
def test_impossible_caches_are_one_sentence(arguments, says):
    done = CliRunner().invoke(main, ["compare", *arguments])
    assert (done.exit_code, says in done.output) == (2, True), done.output


def test_the_command_line_offers_what_the_engine_knows():
    assert tuple(engine.CACHE_BITS) == cli.settings.CACHE_TYPES


def test_a_name_of_both_types():
    assert (Cache.named("q8_0/q4_0"), Cache("q8_0", "f16").name) == (Cache("q8_0", "q4_0"), "q8_0/f16")
    with pytest.raises(UsageError, match="No cache type"):
        Cache.named("q8_0/x")
