"""A part of a run for one of several machines, to be joined by 'localent merge'.

Attempts are seeded by problem and sample and do not depend on their neighbours to the last bit, so a run can be cut
anywhere. Which part an attempt belongs to follows from its problem and sample alone: -n, the order of the file and
resumption do not move it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localent.errors import UsageError

LANES = 16  # of a sharded run that names none: what is fastest on one machine would make another run on the next


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `of`, counted from 1. Raises UsageError for a part that does not exist."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise UsageError(f"There is no shard {self}: the parts of a run are 1/N to N/N.")

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def has(self, problem_id: str, sample: int) -> bool:
        """True for an attempt that belongs to this part."""
        digest = hashlib.sha256(f"{problem_id}/{sample}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.index - 1

    def file(self, db: Path) -> Path:
        """The file of this part beside the file of the whole: localent.db -> localent-3-of-16.db."""
        return db.with_stem(f"{db.stem}-{self.index}-of-{self.of}")


def parse(text: str) -> Shard:
    """ "3/16" as a shard."""
    index, slash, of = text.partition("/")
    if not (slash and index.strip().isdecimal() and of.strip().isdecimal()):
        raise UsageError(f"--shard {text!r} is not written K/N, for example 3/16.")
    return Shard(int(index), int(of))


def of_array_job(environ: Mapping[str, str]) -> Shard | None:
    """The part of a task of a SLURM job array; None outside of one. PBS does not tell how many tasks there are."""
    try:
        task, n, first, step = (int(environ.get(f"SLURM_ARRAY_TASK_{name}", default)) for name, default in _SLURM)
    except ValueError:
        return None
    return Shard((task - first) // step + 1, n) if n > 1 else None


_SLURM = (("ID", ""), ("COUNT", ""), ("MIN", "0"), ("STEP", "1"))
