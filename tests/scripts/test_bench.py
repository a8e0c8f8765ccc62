"""The bench runs from end to end on a tiny model. What it measures is not asserted: that is the bench's own job."""

import json
import math

import bench
import bench_compare
import bench_figures
import bench_scene
import pytest

from localent.engine import drive
from localent.measure.sampling import Sampler

PARTS = "abcdefgh"


@pytest.fixture
def tiny(random_model, monkeypatch):
    monkeypatch.setattr(bench, "QUICK", bench.Size(2, 49, (1, 2), (2048,), 2_000))
    return random_model("tiny-qwen2")


def test_the_bench_prints_a_table_and_json_of_finite_figures(tiny, tmp_path, capsys):
    told = tmp_path / "bench.json"
    assert bench.main(["--quick", "--model", str(tiny), "--json", str(told), "--threads", "1"]) in (0, 1)
    figures = json.loads(told.read_text())["figures"]
    printed = capsys.readouterr().out
    assert {figure["part"] for figure in figures} == set(PARTS)
    assert all(math.isfinite(figure["value"]) and figure["name"] in printed for figure in figures)


def test_the_cost_and_the_memory_of_a_comparison_are_told(tiny):
    for figures in (bench_compare.compare([tiny] * 3, 1, 1), bench_compare.memory([tiny] * 2, 1)):
        found = list(figures)
        assert all(figure.part == "i" and figure.value > 0 for figure in found)
        assert len({figure.name for figure in found}) == len(found) > 1


def test_a_missing_vocabulary_is_named(tmp_path, capsys):
    assert bench.main(["--only", "a", "--vocab", str(tmp_path / "none.gguf"), "--cache", str(tmp_path)]) == 2
    assert "none.gguf" in capsys.readouterr().err


def test_every_trace_has_six_steps_and_its_probes_believe_what_they_are_told(tiny):
    scene = bench_scene.scene(tiny, 1)
    believes = bench_scene.typical(scene.model.vocab)
    with scene.engine(2) as engine:
        (trace,) = drive(engine, scene.probed(1, scene.setup(Sampler(0.7)), believes))
    scene.model.close()
    assert trace.text.strip() == bench_scene.SOLUTION
    assert [step.kind for step in trace.steps] == ["reasoning"] * bench_scene.N_STEPS + ["answer"]
    late = [probe.p_true for probe, chance in zip(trace.probes, bench_scene.CHANCE, strict=True) if chance > 0.5]
    assert late == pytest.approx([chance for chance in bench_scene.CHANCE if chance > 0.5], abs=1e-3)


@pytest.mark.parametrize(("target", "met"), [({}, None), ({"at_least": 2.0}, True), ({"at_most": 1.9}, False)])
def test_a_figure_knows_whether_its_target_is_met(target, met):
    assert bench_figures.of_many("a", "x", [1.0, 2.0, 3.0], **target).met is met


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([-3.0, 1.0, 2.0, 4.0], "not measurable: probing (<= 1.2); run it again on an idle machine"),
        ([-1.0], "not measurable: probing (<= 1.2); run it again on an idle machine"),
        ([math.nan], "not measurable: probing (<= 1.2); run it again on an idle machine"),
        ([0.9, 1.0, 1.1], "met: probing, 1 x (<= 1.2)"),
        ([1.9, 2.0, 2.1], "MISSED: probing, 2 x (<= 1.2)"),
    ],
)
def test_a_figure_of_both_signs_is_no_figure(values, told):
    """On a machine with other work a difference of two times can come out below 0: a ratio of that says nothing."""
    figure = bench_figures.of_many("c", "probing", values, at_most=1.2)
    assert bench_figures.claims([figure]) == [told]
    row = bench_figures.table([figure]).splitlines()[1]
    assert ("not measurable" in row) == (figure.met is None) == told.startswith("not")
