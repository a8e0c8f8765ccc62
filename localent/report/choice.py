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
    kld = c.candidates[at.leader].forced[quantities.KLD.key].value
    size = f"{choice.n_texts:,} of {choice.n_most:,} {_unit(c)}"
    head = f"Run {choice.name}: of the {len(c.candidates)} files that fit it is the closest to"
    said = f"{head} {overview.reference_name(c)}, KLD {overview.small(kld)} nats a token"
    return f"{said}{_times(choice, c, at)}; {_when(at, size)}."


def _unit(c: Comparison) -> str:
    return "chunks" if c.source == "text" else "problems"


def _times(choice: Choice, c: Comparison, at: Standing) -> str:
    """How much closer than the next file, on the texts that both have read."""
    found = [
        (times, name)
        for i, (times, name) in enumerate(zip(choice.multiples, c.names, strict=True))
        if i != at.leader and times is not None
    ]
    return f", {times_noise(min(found)[0])} times closer than {min(found)[1]}" if found else ""


def _when(at: Standing, size: str) -> str:
    return f"decided after {size}" if at.decided else f"{size} read"


def _not_decided(choice: Choice) -> Iterator[str]:
    c = choice.comparison
    if c is None:
        return
    if choice.open:
        yield f"Not decided: {', '.join(choice.open)} may be as close; more -n would show."
    yield from _out(c)
    yield from _answers(c, choice)


def _out(c: Comparison) -> Iterator[str]:
    """The files that were told apart before the end, by the number of texts that they read."""
    counts = sorted({one.n_texts for one in c.candidates if one.n_texts is not None and one.n_texts < c.n_texts})
    for n in counts:
        names = [name for name, one in zip(c.names, c.candidates, strict=True) if one.n_texts == n]
        were, their = ("was", "its") if len(names) == 1 else ("were", "their")
        said = f"{', '.join(names)} {were} told apart after {n:,} {_unit(c)} and read no more"
        yield f"{said}: {their} figures are of those."


def _answers(c: Comparison, choice: Choice) -> Iterator[str]:
    """The verdict on the answers of the file that was picked."""
    for verdict, one in zip(judged(c), c.candidates, strict=True):
        if one.free is not None and verdict.name == choice.label:
            yield verdict.sentence
