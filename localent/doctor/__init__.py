"""A check of this machine, its build of llama.cpp and a model: hardware, speed, bit-exact repetition, noise floor.

`examine` returns findings in the order in which they are printed. All measurements together take some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import localent
from localent import engine
from localent.doctor import conditions, inventory, speed
from localent.doctor.inventory import install_line, unused_features
from localent.doctor.noise import noise
from localent.doctor.repeats import invariance
from localent.engine import Options, build_info, supports_gpu
from localent.files import identity
from localent.files.header import read_header
from localent.machine.findings import Finding, Report, rows, save, saved_report
from localent.machine.fit import gpu_layers

__all__ = ["Finding", "Report", "examine", "install_line", "rows", "save", "saved_report", "unused_features"]


def examine(
    path: Path | None,
    *,
    measure: bool = True,
    layers: int | None = None,
    threads: int | None = None,
    status: Callable[[str], None] = lambda t: None,
) -> Report:
    """Check the machine, the build and, with `path`, the model; with `measure`, run it for some seconds.

    layers: on the GPU; None: as many as fit. threads: None: as many as a run takes by default. Raises LocalentError for
    a model that cannot be used.
    """
    status("checking the machine")
    findings = [*inventory.this_machine(), *inventory.build(), *inventory.gpus()]
    if path is None:
        return Report(None, _identity(0), tuple(findings))
    model, head = identity.identify(path).model, read_header(path)
    findings += inventory.the_model(path, head, model)
    fitting = gpu_layers(head, [path])
    if supports_gpu():
        shown = "all" if fitting.layers < 0 else fitting.layers
        findings.append(Finding("gpu", "layers that fit", shown, None, fitting.why is None, fitting.why))
    layers = fitting.layers if layers is None else layers
    if measure:
        findings += _measured(path, layers, conditions.base(threads), status)
    return Report(model.sha256, _identity(layers), tuple(findings))


def _identity(layers: int) -> dict[str, str]:
    return build_info(layers) | {"localent": localent.__version__}


def _measured(path: Path, layers: int, base: Options, status: Callable[[str], None]) -> Iterator[Finding]:
    with engine.open(path, gpu_layers=layers) as model:
        status("measuring speed")
        speeds = speed.speeds(model, base)
        best = speed.best_of(speeds)
        yield from speed.findings(model, base, speeds, best)
        status("checking that results are reproducible to the last bit")
        exact = list(invariance(model, base))
        yield from exact
        status("measuring the effect of other settings on the numbers")
        moved = list(noise(model, base))
        yield from moved
        yield _advice(exact, moved, best)


def _advice(exact: Sequence[Finding], moved: Sequence[Finding], best: int) -> Finding:
    """Advice on settings, from the bit checks and the noise floor."""
    floor = max((finding.value for finding in moved if finding.value is not None), default=0.0)
    broken = [finding.name for finding in exact if not finding.ok]
    keep = (
        f"use --lanes {best}, and the same --lanes, --threads and build in all runs that you compare: between other"
        f" settings, differences in token entropy below {max(floor, 1e-6):.1g} nats are numerical noise"
    )
    if broken:
        keep += f"; here results also depend on {', '.join(broken)}, so a resumed run may not be bit-identical"
    return Finding("advice", "noise floor", floor, "nats", not broken, keep)
