"""What repeats to the last bit: the same work in other company, other order, with probes, and in a fresh context."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from localent.doctor import trial
from localent.doctor.trial import PROMPT_TOKENS, STEPS
from localent.engine import Model, Prompt, Rewind, drive
from localent.machine.findings import Finding


def _job(tokens: Sequence[int], *, probing: bool = False):
    """Coroutine: feed a prompt, then tokens that are given; the digest of every row on the way.

    With `probing` the lane is taken elsewhere and back again between them, as probes do.
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


def invariance(model: Model) -> Iterator[Finding]:
    """The same work in other company, other order, with probes, and in a fresh context."""
    texts = [trial.text(model, PROMPT_TOKENS - 3 * i + STEPS, 11 * i) for i in range(6)]

    def digests(jobs: Sequence) -> list[str]:
        with model.lanes(trial.options()) as engine:
            return sorted(drive(engine, jobs))

    whole = digests([_job(text) for text in texts])
    alone = sorted(digest for text in texts[:2] for digest in digests([_job(text)]))
    checks = {
        "neighbours": set(alone) <= set(whole),
        "order": digests([_job(text) for text in reversed(texts)]) == whole,
        "probes": digests([_job(text, probing=True) for text in texts]) == whole,
        "resume": sorted([*digests([_job(t) for t in texts[:3]]), *digests([_job(t) for t in texts[3:]])]) == whole,
    }
    for name, same in checks.items():
        note = None if same else "results of this backend depend on it: compare only runs that were made the same way"
        yield Finding("invariance", name, "identical to the last bit" if same else "differs", None, same, note)
