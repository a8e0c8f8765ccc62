"""The choice among quants as text: the file to run, the reason, what is not decided, what was left out."""

from __future__ import annotations

from collections.abc import Iterator

from localent.analysis import quantities
from localent.analysis.sequential import Standing
from localent.compare import Choice, Comparison
from localent.compare.verdict import times_noise
from localent.report import overview
from localent.report.compare import judged
from localent.report.terminal import paragraphs


def render(choice: Choice, width: int = 100) -> str:
    """The whole choice. width: columns of the terminal."""
    blocks = [paragraphs(sentences(choice), width)]
    if choice.comparison is not None:
        c = choice.comparison
        blocks += [overview.lines(overview.entries(c), width), paragraphs(overview.notes(c)[:-1], width)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def sentences(choice: Choice) -> list[str]:
    """The file to run with the reason, then what is not decided and what does not fit."""
    return [_picked(choice), *_not_decided(choice), *choice.left_out]


def _picked(choice: Choice) -> str:
    c, at = choice.comparison, choice.standing
    if c is None or at is None:
        why = "it has the most bits, and fits" if choice.is_reference else "no other file fits"
        return f"Run {choice.name}: {why}."
    klds = [one.forced[quantities.KLD.key].value for one in c.candidates]
    others = sorted((kld, name) for i, (kld, name) in enumerate(zip(klds, c.names, strict=True)) if i != at.leader)
    size = f"{choice.n_texts:,} of {choice.n_most:,} {'chunks' if c.source == 'text' else 'problems'}"
    head = f"Run {choice.name}: of the {len(klds)} files that fit it is the closest to {overview.reference_name(c)}"
    times = (
        f", {times_noise(others[0][0] / klds[at.leader])} times closer than {others[0][1]}" if klds[at.leader] else ""
    )
    return f"{head}, KLD {overview.small(klds[at.leader])} nats a token{times}; {_when(at, size)}."


def _when(at: Standing, size: str) -> str:
    return f"decided after {size}" if at.decided else f"{size} read"


def _not_decided(choice: Choice) -> Iterator[str]:
    c = choice.comparison
    if c is None:
        return
    if choice.open:
        yield f"Not decided: {', '.join(choice.open)} may be as close; more -n would show."
    yield from _answers(c, choice)


def _answers(c: Comparison, choice: Choice) -> Iterator[str]:
    """The verdict on the answers of the file that was picked."""
    for verdict, one in zip(judged(c), c.candidates, strict=True):
        if one.free is not None and verdict.name == choice.label:
            yield verdict.sentence
