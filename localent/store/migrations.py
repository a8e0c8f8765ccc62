"""The migrations, which bring a file of any older version to the newest.

A migration that has shipped is never edited: change the schema by adding one. Views hold no rows, so every migration
makes all of them again.

Numbered functions and `PRAGMA user_version` rather than sqlite-utils' migrations: those log the time of day in a
table of their own, so that two files of equal runs would differ, and cost 0.1 to 0.6 s of import.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator

from localent.store.schema import (
    APPLICATION_ID,
    OPERATORS,
    OPERATORS_2,
    TABLES_1,
    TABLES_2,
    TABLES_3,
    TABLES_4,
    TABLES_5,
    TABLES_6,
    TABLES_7,
    TABLES_8,
    VIEWS,
)

NEXT_ENTROPY = "next_entropy real /* nats: of the one token after the cue, full vocabulary; null: not read */"


def first(conn: sqlite3.Connection) -> None:
    """Version 1: models, problems, runs, and all that a trace consists of."""
    for statement in TABLES_1:
        conn.execute(statement)


def second(conn: sqlite3.Connection) -> None:
    """Version 2: alternatives to the tokens taken; an index over operator tokens, which makes 1M rows answer in ms."""
    for statement in TABLES_2:
        conn.execute(statement)


def third(conn: sqlite3.Connection) -> None:
    """Version 3: comparisons of models."""
    for statement in TABLES_3:
        conn.execute(statement)


def fourth(conn: sqlite3.Connection) -> None:
    """Version 4: verdicts of studies."""
    for statement in TABLES_4:
        conn.execute(statement)


def fifth(conn: sqlite3.Connection) -> None:
    """Version 5: what 'localent doctor' found, with the sessions that it is about."""
    for statement in TABLES_5:
        conn.execute(statement)


def sixth(conn: sqlite3.Connection) -> None:
    """Version 6: p of verdicts after Holm's rule; null in studies kept before."""
    conn.execute("alter table verdicts add column p_holm real /* p by Holm's rule over the subject's claims */")


CONTROL = (
    'control text /* what stands in place of the trace\'s own steps: "shuffled", ...; null: the steps themselves */'
)
ENTROPY_SE = (
    "entropy_se real /* nats: standard error of entropy; 0: explored, or all paths agree; null: unknown, as in older"
    " runs, where invalid and each unexplored branch counted as answers */"
)
ROLLOUTS = "n_rollouts integer /* continuations sampled; null: computed from logits */"


def seventh(conn: sqlite3.Connection) -> None:
    """Version 7: a probe's control and number of rollouts in columns; older files had them in other columns.

    The control's name is the end of `estimator`, which stays: it is in the key. Of m rollouts, `entropy_upper` is ln m.
    """
    for column in (CONTROL, ROLLOUTS):
        conn.execute(f"alter table probes add column {column}")
    conn.execute("update probes set control = substr(estimator, instr(estimator, ':') + 1) where estimator like '%:%'")
    uppers = conn.execute("select distinct entropy_upper from probes where estimator = 'rollout'").fetchall()
    sizes = [(round(math.exp(upper)), upper) for (upper,) in uppers]
    conn.executemany("update probes set n_rollouts = ? where estimator = 'rollout' and entropy_upper = ?", sizes)


CLAIM_KEYS = {  # claims as they were worded before they had keys
    "information gain rises with steps": "gain_rises",
    "information gain rises with steps, no floor": "gain_rises_no_floor",
    "gain by half of the steps": "gain_by_half",
    "probability of the true answer rises": "p_true_rises",
    "information gain rises, by rollouts": "gain_rises_rollouts",
    "exceeds every control": "exceeds_controls",
    "exceeds every control, t = 0.5": "exceeds_controls_half",
    "lock-in: wrong traces lock in later": "lock_in",
    "lock-in of the leading answer": "lock_in_leader",
    "separability: wrong traces stay uncertain": "separability",
    "early separability, t = 0.5": "early_separability",
    "early separability beyond the start": "early_separability_gain",
    "early separability, t = 0.5, any K": "early_separability_any",
    "within-question separability, t = 0.5": "within_question",
    "monotonicity: wrong traces rise more often": "monotonicity",
    "saturation: steps shrink near the floor": "saturation",
    "training increases the gain": "training",
}


def eighth(conn: sqlite3.Connection) -> None:
    """Version 8: a claim's key in addition to its wording, which may change. Null: unknown wording."""
    conn.execute("alter table verdicts add column claim_key text /* identifies the claim, however it is worded */")
    renamed = [(key, claim) for claim, key in CLAIM_KEYS.items()]
    conn.executemany("update verdicts set claim_key = ? where claim = ?", renamed)
    prefix = "exceeds control: "
    key = f"'exceeds_control:' || substr(claim, {len(prefix) + 1})"
    conn.execute(f"update verdicts set claim_key = {key} where claim like '{prefix}%'")


OPTIONAL = ("entropy", "entropy_lower", "entropy_upper")  # of a probe that found no answer there are none


def ninth(conn: sqlite3.Connection) -> None:
    """Version 9: the standard error of an answer entropy, and no entropy where no answer was found.

    Taking a NOT NULL back changes nothing but the schema's text (https://sqlite.org/lang_altertable.html, section 7).
    """
    conn.execute(f"alter table probes add column {ENTROPY_SE}")
    conn.execute("pragma writable_schema = on")
    for column in OPTIONAL:
        strict, lax = f" {column} real not null,", f" {column} real,"
        conn.execute("update sqlite_master set sql = replace(sql, ?, ?) where name = 'probes'", (strict, lax))
    conn.execute("pragma writable_schema = off")
    conn.execute(f"pragma schema_version = {conn.execute('pragma schema_version').fetchone()[0] + 1}")


def tenth(conn: sqlite3.Connection) -> None:
    """Version 10: probabilities of being right, calibrated on a run."""
    for statement in TABLES_6:
        conn.execute(statement)


OBSERVATIONS = "observations text /* JSON: lines from outside, the k-th read before the k-th step; null: none */"
IDEAL_ENTROPY = (
    "ideal_entropy text /* JSON: nats, of the answer to an ideal reader after k = 0, 1, ... steps; null: not known */"
)
IDEAL_ANSWERS = "ideal_answers text /* JSON: the answers possible then, all equally likely; null: not known */"


def eleventh(conn: sqlite3.Connection) -> None:
    """Version 11: lines from outside that come with a problem, and what an ideal reader knows after each step."""
    for column in (OBSERVATIONS, IDEAL_ENTROPY, IDEAL_ANSWERS):
        conn.execute(f"alter table problems add column {column}")


VARIANT_OF = "variant_of text /* the same in problems that are variants of one another; null: by itself */"


def twelfth(conn: sqlite3.Connection) -> None:
    """Version 12: problems that are variants of one another. Null in older files, until a run names their groups."""
    conn.execute(f"alter table problems add column {VARIANT_OF}")


def thirteenth(conn: sqlite3.Connection) -> None:
    """Version 13: the entropy of the token after a probe's cue; the view step_importance."""
    conn.execute(f"alter table probes add column {NEXT_ENTROPY}")


GIVEN = (
    "given integer not null default 0 check (given in (0, 1)) /* 1: it came from outside (an observation) and was not"
    " generated: no part of the trace's or step's entropy, surprisal, log_prob and n_tokens */"
)
N_GIVEN = "n_given integer not null default 0 /* tokens that came from outside, between those generated */"


def fourteenth(conn: sqlite3.Connection) -> None:
    """Version 14: tokens that came from outside are marked, and no part of a trace's entropy and length."""
    conn.execute(f"alter table tokens add column {GIVEN}")
    conn.execute(f"alter table traces add column {N_GIVEN}")
    conn.execute("drop index tokens_operators")
    conn.execute(f"create index tokens_operators on tokens (text, entropy, surprisal, given) where {OPERATORS_2}")


N_TODO = "n_todo integer /* traces that it set out to make; null: not known */"


def fifteenth(conn: sqlite3.Connection) -> None:
    """Version 15: how many traces a session set out to make, for its progress. Null in older files."""
    conn.execute(f"alter table sessions add column {N_TODO}")


def sixteenth(conn: sqlite3.Connection) -> None:
    """Version 16: texts that a model has read, and their tokens."""
    for statement in TABLES_7:
        conn.execute(statement)


SHARD = 'shard text /* the part of the run that was to be made, "3/16"; null: all of it */'
MADE_AS = (
    "made_as text /* JSON: id, settings and build of the run that its traces were made in, where a merge joined runs of"
    " several machines to one; null: those of this run */"
)


def seventeenth(conn: sqlite3.Connection) -> None:
    """Version 17: what was asked for of a run, the session that made each trace, its part of the run and its build."""
    for statement in TABLES_8:
        conn.execute(statement)
    for column in (SHARD, MADE_AS):
        conn.execute(f"alter table sessions add column {column}")


def eighteenth(conn: sqlite3.Connection) -> None:
    """Version 18: the index over operator tokens asks "text = ... or text = ...", which makes writing cheaper."""
    conn.execute("drop index tokens_operators")
    conn.execute(f"create index tokens_operators on tokens (text, entropy, surprisal, given) where {OPERATORS}")


# The n-th makes version n.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...]
MIGRATIONS = (
    *(first, second, third, fourth, fifth, sixth, seventh),
    *(eighth, ninth, tenth, eleventh, twelfth, thirteenth, fourteenth),
    *(fifteenth, sixteenth, seventeenth, eighteenth),
)


def version(conn: sqlite3.Connection) -> int:
    """The number of migrations that the file has seen."""
    number: int = conn.execute("pragma user_version").fetchone()[0]
    return number


def migrate(conn: sqlite3.Connection) -> None:
    """Bring the file to the newest version. The caller holds the write transaction: all of it happens or nothing."""
    for view in existing_views(conn):
        conn.execute(f"drop view {view}")
    for number, migration in enumerate(MIGRATIONS[version(conn) :], version(conn) + 1):
        migration(conn)
        conn.execute(f"pragma user_version = {number}")
    for view, body in VIEWS.items():
        conn.execute(f"create view {view} as\n{body}")
    conn.execute(f"pragma application_id = {APPLICATION_ID}")


def existing_views(conn: sqlite3.Connection) -> Iterator[str]:
    """Those of our views that the file has."""
    found = {name for (name,) in conn.execute("select name from sqlite_master where type = 'view'")}
    return (view for view in VIEWS if view in found)
