"""Reproducibility to the last bit: the same texts with other neighbours, in another order, with probes, resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

from localent.doctor import conditions
from localent.doctor.conditions import PROMPT_TOKENS, STEPS
from localent.engine import Coroutine, Model, Options, Prompt, Rewind, drive
from localent.machine.findings import Finding

SAME = "identical to the last bit"
DEPENDS = "results of this backend depend on it: compare only runs made under the same conditions"


def invariance(model: Model, base: Options) -> Iterator[Finding]:
    """One finding for each circumstance that must not change a bit."""
    texts = [conditions.text(model, PROMPT_TOKENS - 3 * i + STEPS, 11 * i) for i in range(6)]
    for name, same in _checks(model, base, texts).items():
        yield Finding("invariance", name, SAME if same else "differs", None, same, None if same else DEPENDS)


def _checks(model: Model, base: Options, texts: Sequence[Sequence[int]]) -> dict[str, bool]:
    """True where the digests of all texts stay the same, by circumstance."""
    digests = partial(_digests, model, base)
    whole = digests(texts)
    alone = {digest for text in texts[:2] for digest in digests([text])}
    return {
        "neighbours": alone <= set(whole),
        "order": digests(texts[::-1]) == whole,
        "probes": digests(texts, probing=True) == whole,
        "resume": sorted([*digests(texts[:3]), *digests(texts[3:])]) == whole,
    }


def _digests(model: Model, base: Options, texts: Sequence[Sequence[int]], *, probing: bool = False) -> list[str]:
    """The digests of all texts, read in one set of lanes, sorted."""
    with model.lanes(base) as engine:
        return sorted(drive(engine, [_digest(text, probing) for text in texts]))


def _digest(tokens: Sequence[int], probing: bool) -> Coroutine[str]:
    """Coroutine: feed a prompt, then given tokens; the digest of every row on the way.

    With `probing`, the lane is rewound and used for something else between tokens, as probes do.
    """
    n_prompt, digest = len(tokens) - STEPS, hashlib.sha256()
    row = yield Prompt(tokens[:n_prompt])
    digest.update(row.tobytes())
    for i, token in enumerate(tokens[n_prompt:]):
        if probing and i % 5 == 2:
            yield Rewind(n_prompt + i)
            for aside in tokens[:3]:
                row = yield aside
            yield Rewind(n_prompt + i)
        row = yield token
        digest.update(row.tobytes())
    return digest.hexdigest()
