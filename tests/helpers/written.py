"""A scripted model in the place of a bundled one's weights: whole runs and commands on it take milliseconds.

It writes steps "So it is more.\\n" or "Or it is less.\\n", drawn at even odds, three to five by the problem, then
"The answer is N."; after the cue at any prefix it gives the true answer the surer the more steps there are, in four
of five problems, else another number.
"""

from contextlib import contextmanager
from functools import cache
from hashlib import sha256

import numpy as np

from localent import tasks
from localent.engine import scripted

STEPS = (b"So it is more.\n", b"Or it is less.\n")
PIECES = [b"", *(bytes([i]) for i in range(256)), *STEPS, b"The answer is"]
VOCAB = scripted.ScriptedVocab(PIECES, eog=frozenset([0]))
SURE = (0.3, 0.5, 0.75, 0.9, 0.97, 0.99)  # probability of the answer that wins, after so many steps
USER, ASSISTANT = b"<|im_start|>user\n", b"<|im_start|>assistant\n"


@contextmanager
def model(bundled, name="demo-number"):
    """Inside, the bundled model's file is this model. bundled: its path; name: the task whose answers it knows."""
    answers = {p.question.encode(): p.answer for p in tasks.load(name).problems}

    @cache
    def follows(text):
        asked, _, written = text.rpartition(ASSISTANT)
        question = asked.removeprefix(USER).partition(b"<|im_end|>")[0]
        return row(written.lstrip(), answers.get(question, "7"), sha256(question).digest()[0])

    def logits(tokens):
        return follows(b"".join(map(PIECES.__getitem__, tokens)))

    with scripted.at(bundled, scripted.ScriptedModel(VOCAB, logits)):
        yield


def row(written, truth, seed):
    """What follows after so much of the solution: (n_vocab,) logits."""
    probs = np.zeros(len(PIECES))
    n, last = sum(written.count(step) for step in STEPS), written.rpartition(b"\n")[2]
    answer = truth if seed % 5 else str(int(float(truth)) + 1)
    if last.startswith(b"The answer is"):
        _answered(probs, last.removeprefix(b"The answer is").decode("latin-1"), answer, SURE[min(n, 5)])
    elif n >= 3 + seed % 3:
        probs[PIECES.index(b"The answer is")] = 1.0
    else:
        probs[[PIECES.index(step) for step in STEPS]] = 0.5
    with np.errstate(divide="ignore"):
        return np.log(probs)


def _answered(probs, said, answer, sure):
    """One of two numbers that differ in the first digit; then a full stop, and the end."""
    other = ("9" if answer[0] != "9" else "8") + answer[1:]
    for whole, share in ((f" {answer}.", sure), (f" {other}.", 1 - sure)):
        if whole.startswith(said):
            probs[1 + ord(whole[len(said)]) if len(said) < len(whole) else 0] += share
    probs[0] += probs.sum() == 0
    probs /= probs.sum()
