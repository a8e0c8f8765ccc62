"""A trace as a picture: well-formed whatever a model wrote, complete, within its frame."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from helpers.made import HOSTILE, made
from helpers.runs import call

from localent.report.measures import level_of
from localent.report.picture import WIDTH, laid_out, picture
from localent.report.table import text_width
from localent.report.trace import visible
from localent.store import open_db, traces

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "runs.db"
    made(path, n_problems=12)
    return path


def seen_of(db, source_id):
    with open_db(db, readonly=True) as store:
        row = store.query("select trace_id from trace_summary where source_id = ?", source_id)[0]
        return traces.seen(store, row["trace_id"])


def drawn(seen, **options):
    return ElementTree.fromstring(picture(seen.trace, seen.texts, seen.problem, **options))


@pytest.mark.parametrize("source_id", ["made-0001", "made-0003"])
def test_all_of_the_text_is_in_it_with_a_colour_for_each_uncertain_token(db, source_id):
    seen = seen_of(db, source_id)
    root = drawn(seen)
    lines = [node.text for node in root.iter(f"{SVG}text") if "mono" in node.get("class")]
    assert "".join("".join(lines).split()) == "".join(visible(seen.trace.text.replace("\n", "")).split())
    boxes = [node for node in root.iter(f"{SVG}rect") if node.get("class").startswith("l")]
    uncertain = [t for t in seen.trace.tokens if level_of(t.entropy, "entropy")]
    assert len(boxes) >= 5 + len(uncertain)  # the scale has five; a long token may take two lines


def test_hostile_text_is_text(db):
    text = picture(*(lambda s: (s.trace, s.texts, s.problem))(seen_of(db, "made-0003")), heading=HOSTILE)
    assert HOSTILE not in text
    assert "\x1b" not in text
    assert {node.tag.removeprefix(SVG) for node in ElementTree.fromstring(text).iter()} == {
        "svg", "title", "style", "rect", "text", "path",
    }  # fmt: skip


def test_nothing_leaves_the_frame(db):
    root = drawn(seen_of(db, "made-0003"))
    height = float(root.get("height"))
    for node in root.iter():
        x, y = float(node.get("x", 0)), float(node.get("y", 0))
        right = x + float(node.get("textLength") or node.get("width") or 0) if node.tag != f"{SVG}svg" else 0
        assert 0 <= x <= right or right == 0
        assert right <= WIDTH
        assert 0 <= y <= height


def test_the_true_answer_is_marked(db):
    seen = seen_of(db, "made-0001")
    found = [node.text for node in drawn(seen).iter(f"{SVG}text")]
    assert f"{seen.problem.answer} ✓" in found
    assert "answer entropy" in " ".join(found)
    assert any(text.startswith("RIGHT: answered 6") for text in found)


def test_without_probes_the_text_takes_all_of_the_width(db):
    from dataclasses import replace

    seen = seen_of(db, "made-0001")
    bare = replace(seen.trace, probes=())
    root = ElementTree.fromstring(picture(bare, seen.texts, replace(seen.problem, answer="")))
    found = [node.text or "" for node in root.iter(f"{SVG}text")]
    assert not any("answer entropy" in text or "RIGHT" in text for text in found)


def test_lines_break_between_words(db):
    seen = seen_of(db, "made-0001")
    lines = laid_out(seen.trace.tokens, seen.texts, "entropy", 20)
    texts = ["".join(piece.text for piece in line) for line in lines]
    assert max(map(text_width, texts)) <= 20
    assert all("apples" in text or "apple" not in text for text in texts)


def test_a_picture_is_written_beside_the_text(db, tmp_path):
    trace = str(seen_of(db, "made-0001").trace_id)
    code, _, err = call("show", trace, "--db", db, "--image", tmp_path / "t.svg")
    assert (code, "Wrote" in err) == (0, True)
    assert "abacus-base (F16) on sums, problem made-0001" in (tmp_path / "t.svg").read_text()


@pytest.mark.parametrize("words", [("show", "1"), ("ask", "abacus-sft", "2+3?")])
def test_another_format_is_refused_before_any_work(words, tmp_path):
    code, _, err = call(*words, "--image", tmp_path / "t.png")
    assert (code, "'t.png' must end in .svg" in err) == (2, True)
