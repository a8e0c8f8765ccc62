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


@pytest.mark.parametrize("is_number", [True, False])
def test_a_question_is_probed_where_a_number_is_likely_to_follow(random_model, monkeypatch, is_number):
    """Else it is asked as it stands, and its tokens are measured alone."""
    monkeypatch.setattr(asking, "NO_NUMBER", 1.01 if is_number else 0.0)
    trace = ask(str(random_model("tiny-llama")), problem_of("Why is the sky blue?"), SETTINGS, watcher([]))
    assert bool(trace.probes) == is_number
    assert len(trace.tokens) == 24
    open_ = asking.open_task(problem_of("Why?"))
    assert (open_.instruction, open_.kind.exact) == ("", False)


def test_the_model_says_whether_a_number_follows(bundled):
    """The bundled model answers everything with a number."""
    from localent.runs import session

    task, file = asking.task_of(problem_of("2 plus 3?"), bundled=True), session.usable(str(bundled))
    settings = Settings(lanes=1, threads=1, gpu_layers=0)
    with session.opened(file, task, settings) as asked, asked.engine() as lanes:
        (question,) = asked.questions
        assert asking.asks_for_number(lanes, question, asked.setup(lanes).asking(question))


def test_an_answer_in_words_is_a_text():
    eiffel = problem_of("Which tower?", "The Eiffel Tower.")
    assert eiffel.answer == "eiffel tower"
    assert asking.kind_of(eiffel).name == "text"
    assert asking.task_of(eiffel, bundled=False).instruction.endswith("the answer in a few words.")
    kinds = {answer: asking.kind_of(problem_of("?", answer)).name for answer in ("", "1,000", "yes", "1/2")}
    assert kinds == {"": "number", "1,000": "number", "yes": "yes/no", "1/2": "number"}


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
