"""One question to a model: what may be said of the answer, and which files it can be put to."""

import gguf
import pytest

from localent.errors import LocalentError
from localent.runs import Settings
from localent.runs import ask as asking
from localent.runs.ask import ask, problem_of
from localent.tracing.watch import Watcher

SETTINGS = Settings(threads=1, max_tokens=24, max_fed=4, gpu_layers=0)
VOCABULARY = ("tokenizer.", "llama.", "general.name")


def watcher(probes):
    return Watcher(token=lambda piece, measures: None, probe=probes.append)


def test_no_leader_is_named_while_what_is_unexplored_could_overtake_it(bundled):
    """A short search leaves nearly everything unexplored: the likeliest answer found so far leads nothing."""
    probes = []
    ask(str(bundled), problem_of("Max had 5 red tickets and 52 orange ones. How many?"), SETTINGS, watcher(probes))
    undecided = [probe for probe in probes if probe.residual > 0.9 and probe.answers]
    assert undecided
    assert {probe.leader for probe in undecided} == {None}


def test_a_quant_of_a_bundled_model_is_asked_as_its_model_is(tmp_path, monkeypatch):
    """With a bare question: neither an instruction nor worked examples."""
    asked = []
    made = asking.task_of
    monkeypatch.setattr(asking, "task_of", lambda problem, **about: asked.append(made(problem, **about)) or asked[-1])
    for name in ("abacus-sft", "abacus-sft:Q4_K_M"):
        ask(name, problem_of("2 plus 3?"), SETTINGS, watcher([]))
    assert [(task.instruction, task.shots) for task in asked] == [("", 0), ("", 0)]


def test_a_vocabulary_alone_is_refused_in_our_words(bundled, tmp_path):
    path = tmp_path / "vocabulary.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for name, field in gguf.GGUFReader(bundled).fields.items():
        if name.startswith(VOCABULARY):
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(LocalentError, match="holds a vocabulary only"):
        ask(str(path), problem_of("2 plus 3?"), SETTINGS, watcher([]))
