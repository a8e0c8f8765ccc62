"""One trace for paper: the entropy of its tokens as a strip, and below it p(true) and the answer entropy by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localent.records import Probe
from localent.report.figures import COLOURS, Look, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from localent.store.traces import Seen

WIDTH, STRIP, ROW = 6.9, 0.9, 1.5  # inches: of the figure, and heights of the strip and of a curve
MOST_NATS = 4.0  # from here on all entropies have the darkest colour, so that one token does not pale the others


def drawn(seen: Seen, look: Look) -> Figure:
    """The figure, made without pyplot."""
    from matplotlib.figure import Figure

    probes = [p for p in seen.trace.probes if p.own]
    heights = [STRIP, *([ROW, ROW] if probes else [])]
    width, height = WIDTH, sum(heights) + 0.7
    if look.width is not None:
        width, height = look.width, height * look.width / width
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
    strip(seen, figure, axes[0])
    if probes:
        at = [p.n_tokens for p in probes]
        curve(axes[1], at, [p.p_true for p in probes], "p(true)", COLOURS[0])
        axes[1].set_ylim(0, 1.02)
        entropy(axes[2], at, probes)
    for axis in axes[1:]:
        for step in seen.trace.steps:
            axis.axvline(step.start, color="#D9DBDF", lw=0.6, zorder=0)
    axes[-1].set_xlabel("tokens generated")
    axes[-1].set_xlim(0, max(len(seen.trace.tokens), 1))
    title = title_of(seen) if look.title is None else look.title
    if title:
        axes[0].set_title(plain(title), loc="left")
    if look.caption:
        figure.supxlabel(plain(caption_of(seen)), x=0.01, ha="left", fontsize=look.font - 2, color="#4A4D52")
    return figure


def strip(seen: Seen, figure: Figure, axis: Axes) -> None:
    """The entropy of each token as its colour, with the borders of the steps."""
    values = [token.entropy for token in seen.trace.tokens]
    edges = [*range(len(values) + 1)]
    mesh = axis.pcolormesh(edges, [0, 1], [values], cmap="YlOrBr", vmin=0, vmax=MOST_NATS, rasterized=False)
    for step in seen.trace.steps:
        axis.axvline(step.start, color="#1B1C1E", lw=0.6)
    axis.set_yticks([])
    axis.grid(visible=False)
    bar = figure.colorbar(mesh, ax=axis, fraction=0.02, pad=0.01, extend="max", ticks=[0, 2, 4])
    bar.set_label("nats", fontsize="small")
    axis.set_ylabel("token\nentropy", rotation=0, ha="right", va="center", fontsize="small")


def curve(axis: Axes, at: Sequence[int], values: Sequence[float], label: str, colour: str) -> None:
    """A value by token: from each probe until the next."""
    axis.step(at, values, where="post", color=colour, lw=1.4)
    axis.plot(at, values, "o", color=colour, ms=3.5)
    axis.set_ylabel(label, fontsize="small")


def entropy(axis: Axes, at: Sequence[int], probes: Sequence[Probe]) -> None:
    """The answer entropy with its bounds; gaps where no answer was found."""
    values = [float("nan") if p.entropy is None else p.entropy for p in probes]
    curve(axis, at, values, "answer entropy\n(nats)", COLOURS[1])
    low = [v if p.entropy_lower is None else p.entropy_lower for v, p in zip(values, probes, strict=True)]
    high = [v if p.entropy_upper is None else p.entropy_upper for v, p in zip(values, probes, strict=True)]
    axis.fill_between(at, low, high, step="post", color=COLOURS[1], alpha=0.16, linewidth=0)
    axis.set_ylim(bottom=0)


def title_of(seen: Seen) -> str:
    """ "abacus-sft F16 on demo-number, problem demo-12: right"."""
    outcome = "right" if seen.trace.correct else "wrong"
    return f"{seen.model} {seen.quant} on {seen.task}, problem {seen.problem.source_id}: {outcome}"


def caption_of(seen: Seen) -> str:
    """What it answered, and what the parts mean."""
    answer = seen.trace.extraction.value or "nothing that could be parsed"
    said = f"Answered {answer}, the true answer is {seen.problem.answer}. Lines: steps; dots: probes; band: bounds."
    return f"Trace {seen.trace_id}. {said}"
