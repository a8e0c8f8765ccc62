"""The tables and views, with their units, and the migrations that make them.

A migration that has shipped is never edited: change the schema by adding one. Views hold no rows, so they are
made anew by every migration and have one text only.

Numbered functions and `PRAGMA user_version` rather than sqlite-utils' migrations: those log the time of day in a
table of their own, so that two files of equal runs would differ, and cost 0.1 to 0.6 s of import.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator

APPLICATION_ID = 0x6C636E74  # "lcnt": marks the file as ours

TABLES_1 = (
    """create table models ( -- one GGUF file; the same label with other content is another model
  sha256 text primary key,             -- of the whole file
  name text not null,                  -- the name it was first used under
  path text not null,                  -- where the file was last seen
  arch text not null,
  quant text not null,                 -- as GGUF spells it
  n_params integer not null,
  file_bytes integer not null,         -- bytes
  bits_per_weight real not null,       -- bits; real: all tensors / number of weights
  tensor_types text not null,          -- JSON: GGUF type -> number of weights
  n_vocab integer not null,
  n_ctx_train integer not null,        -- tokens
  tokenizer_sha256 text not null,
  template_sha256 text                 -- null: no chat template
) strict""",
    """create table tasks ( -- a named set of problems
  task text primary key,
  kind text not null,                  -- "number" | "choice"
  source text                          -- where the problems come from
) strict""",
    """create table problems ( -- one question and its true answer
  task text not null references tasks,
  problem_id text not null,            -- content hash
  source_id text not null,             -- the data set's own id, or its line number
  question text not null,
  answer text not null,                -- the true answer, normalised
  choices text not null,               -- JSON: [{"label": ..., "text": ...}]; []: a number is asked for
  solution text,                       -- a worked solution, where there is one
  n_steps integer,                     -- difficulty, where the data set knows it
  primary key (task, problem_id)
) strict""",
    """create table runs ( -- one model x task x settings: everything needed to repeat it
  run_id text primary key,             -- content hash of all below
  model_sha256 text not null references models,
  task text not null references tasks,
  settings text not null,              -- JSON; the columns below are copies for comfort, null where not set
  build text not null,                 -- JSON: versions, backend, system
  temperature real,
  top_p real,
  top_k integer,
  seed integer,
  max_tokens integer,                  -- tokens a trace may have
  lanes integer,                       -- sequences decoded side by side
  threads integer,
  gpu_layers integer,
  shots integer                        -- worked examples in the prompt
) strict""",
    """create table sessions ( -- one invocation that worked on a run; the only table with times of day
  session_id integer primary key,
  run_id text not null references runs on delete cascade,
  host text not null,
  started text not null,               -- UTC, ISO 8601
  ended text not null,                 -- UTC, ISO 8601: the end, or the last trace written so far
  closed integer not null,             -- 1: ended in order; 0: still at work, or killed
  seconds real not null,               -- seconds from started to ended
  n_traces integer not null,           -- traces written
  n_tokens integer not null,           -- tokens generated in them
  n_probe_tokens integer not null      -- tokens fed for their probes
) strict""",
    """create table traces ( -- one attempt of a run at a problem
  trace_id integer primary key,        -- first 53 bits of sha256("run_id/problem_id/sample")
  run_id text not null references runs on delete cascade,
  task text not null,
  problem_id text not null,
  sample integer not null,             -- 0-based
  correct integer not null check (correct in (0, 1)),
  finish text not null,                -- "stop" | "length"
  answer text,                         -- what grading read, normalised; null: nothing found
  answer_raw text,                     -- the same as it stands in the text
  extraction_method text not null,     -- how it was read
  extraction_problem text,             -- why answer is null
  n_prompt integer not null,           -- tokens
  n_tokens integer not null,           -- generated tokens
  n_steps integer not null,            -- reasoning steps, the answer not counted
  n_probe_tokens integer not null,     -- tokens fed for the probes: their cost
  mean_entropy real,                   -- nats, over tokens; null: no token
  max_entropy real,                    -- nats
  mean_surprisal real,                 -- nats
  log_prob real not null,              -- nats: minus the sum of surprisals
  text text not null,
  foreign key (task, problem_id) references problems,
  unique (run_id, problem_id, sample)
) strict""",
    "create index traces_by_problem on traces (task, problem_id)",
    """create table tokens ( -- one generated token: the prediction that was made and the token taken
  trace_id integer not null references traces on delete cascade,
  token_index integer not null,        -- 0-based
  token_id integer not null,
  text text not null,                  -- the characters that this token completes; joined up: the text of the trace
  piece blob,                          -- its exact bytes where they differ from text: parts of a character
  surprisal real not null,             -- nats
  entropy real not null,               -- nats, of the full vocabulary
  varentropy real not null,            -- nats squared
  renyi2 real not null,                -- nats
  top1_prob real not null,             -- probability
  margin real not null,                -- nats: log-probability of the first minus the second
  rank integer not null,               -- 1: the most likely token was taken
  self_certainty real not null,        -- nats: KL(uniform||p)
  topk_confidence real,                -- nats; null: not asked for
  topk_bias real,                      -- nats; null: not asked for
  primary key (trace_id, token_index)
) strict, without rowid""",
    """create table steps ( -- one reasoning step of a trace, or its statement of the answer
  trace_id integer not null references traces on delete cascade,
  step_index integer not null,         -- 0-based
  kind text not null,                  -- "reasoning" | "answer"
  start_token integer not null,        -- first token_index
  end_token integer not null,          -- one past the last token_index
  mean_entropy real,                   -- nats, over its tokens; null: no token
  max_entropy real,                    -- nats
  mean_surprisal real,                 -- nats
  text text not null,
  primary key (trace_id, step_index)
) strict, without rowid""",
    """create table probes ( -- the answer distribution after the first k steps of a trace
  trace_id integer not null references traces on delete cascade,
  k integer not null,                  -- reasoning steps in the prefix, 0..K
  estimator text not null,             -- "number" | "choice"
  n_tokens integer not null,           -- generated tokens in the prefix
  position real not null,              -- k / K
  entropy real not null,               -- nats; invalid and residual mass count as one outcome each
  entropy_lower real not null,         -- nats, certified
  entropy_upper real not null,         -- nats, certified
  residual real not null,              -- probability not explored
  invalid real not null,               -- probability of what is no answer
  p_true real not null,                -- probability of the true answer
  log_p_true real,                     -- nats; null: p_true is 0, no answer of this format is the true one
  leader text,                         -- the most likely answer
  n_fed integer not null,              -- tokens fed for this probe: its cost
  primary key (trace_id, k, estimator)
) strict, without rowid""",
    """create table answers ( -- one possible answer at a probe
  trace_id integer not null,
  k integer not null,
  estimator text not null,
  answer_rank integer not null,        -- 1: the most likely
  value text not null,                 -- normalised
  prob real not null,                  -- probability
  primary key (trace_id, k, estimator, answer_rank),
  foreign key (trace_id, k, estimator) references probes on delete cascade
) strict, without rowid""",
)

SIGNS = ("+", "-", "−", "*", "×", "/", "÷", "=")  # an index over these: they are asked for often
OPERATORS = "text in ({})".format(", ".join(f"'{space}{sign}'" for sign in SIGNS for space in ("", " ")))
TABLES_2 = (
    """create table alternatives ( -- one of the most likely tokens at a prediction; only in runs with --alternatives
  trace_id integer not null,
  token_index integer not null,
  alternative_rank integer not null,   -- 1: the most likely
  token_id integer not null,
  text text not null,                  -- its piece as text
  prob real not null,                  -- probability
  primary key (trace_id, token_index, alternative_rank),
  foreign key (trace_id, token_index) references tokens on delete cascade
) strict, without rowid""",
    f"create index tokens_operators on tokens (text, entropy, surprisal) where {OPERATORS}",
)

TABLES_3 = (
    """create table comparisons ( -- one candidate beside a reference on the same texts; delta: candidate - reference
  comparison_id text primary key,      -- content hash of the models, the texts and the settings
  reference_sha256 text references models, -- null: a base file of llama-perplexity
  candidate_sha256 text not null references models,
  source text not null,                -- "text" | "base file" | "run"
  source_name text not null,           -- the file's name, or the run's id
  run_id text references runs on delete set null, -- the run whose traces were scored
  candidate_run_id text references runs on delete set null, -- the candidate's own run of the same problems
  n_texts integer not null,            -- chunks of text, or traces
  n_positions integer not null,        -- tokens scored
  mean_kld real not null,              -- nats: KL(reference||candidate), teacher-forced
  noise_kld real,                      -- nats: the same of the reference against itself; null: not measured
  rms_delta_p real not null,           -- probability of the token that follows
  same_top real not null,              -- share of positions with the same most likely token
  ppl_reference real not null,         -- perplexity
  ppl_candidate real not null,
  delta_entropy real,                  -- nats, mean over positions; null: the reference is a base file
  delta_varentropy real,               -- nats squared
  n_pairs integer,                     -- traces paired by problem and seed; null: not run free
  accuracy_reference real,             -- share of right traces
  accuracy_candidate real,
  right_to_wrong integer,              -- pairs
  wrong_to_right integer,
  mcnemar_p real,                      -- exact, two-sided
  length_ratio real,                   -- tokens of the candidate's traces / of the reference's
  delta_answer_entropy real,           -- nats, mean over the same prefixes
  settings text not null,              -- JSON
  figures text not null                -- JSON: everything that was found
) strict""",
    """create table divergences ( -- one scored position of a comparison; only on request
  comparison_id text not null references comparisons on delete cascade,
  text_index integer not null,         -- chunk of the text, or number of the trace
  position integer not null,           -- index of the predicted token in the text fed, prompt included
  trace_id integer references traces on delete cascade, -- null: plain text
  token_id integer not null,           -- the token that follows
  class text,                          -- "number" | "operator" | "step start" | ...; null: plain text
  kld real not null,                   -- nats, full vocabulary
  kld_reverse real not null,           -- nats
  jsd real not null,                   -- nats
  same_top integer not null check (same_top in (0, 1)),
  surprisal_reference real not null,   -- nats
  surprisal_candidate real not null,   -- nats
  entropy_reference real not null,     -- nats
  entropy_candidate real not null,     -- nats
  varentropy_reference real not null,  -- nats squared
  varentropy_candidate real not null,  -- nats squared
  margin_reference real not null,      -- nats
  margin_candidate real not null,      -- nats
  primary key (comparison_id, text_index, position)
) strict, without rowid""",
)

TABLES_4 = (
    """create table verdicts ( -- one claim about one model, or one step of training, judged by a study
  study_id text not null,              -- content hash of the runs and of what counts as an effect
  task text not null references tasks,
  subject text not null,               -- a model, or "earlier -> later"
  claim text not null,
  verdict text not null,               -- "supported" | "refuted" | "undecided" | "explained by length"
  effect real,                         -- in `unit`; positive: as claimed; null: see note
  low real,                            -- 95 % interval, clustered by problem
  high real,
  unit text not null,
  test text not null,                  -- what p is of
  p real,                              -- two-sided
  n integer not null,                  -- traces
  n_problems integer not null,
  selected integer not null,           -- 1: compares right and wrong traces, which are selected on the outcome
  runs text not null,                  -- JSON: ids of the runs behind it
  note text not null,
  primary key (study_id, task, subject, claim)
) strict, without rowid""",
)

TABLES_5 = (
    """create table checks ( -- one finding of 'localent doctor' about the machine, build and model of a session
  session_id integer not null references sessions on delete cascade,
  part text not null,                  -- "machine" | "build" | "gpu" | "model" | "speed" | "invariance" | "noise" | ...
  name text not null,
  value text,                          -- null: could not be found out
  number real,                         -- value, where it is a number
  unit text,
  ok integer check (ok in (0, 1)),     -- null: nothing to judge
  note text,
  primary key (session_id, part, name)
) strict, without rowid""",
)

VIEWS = {
    "trace_summary": """-- one row per trace; entropies in nats
-- answer_entropy_* and p_true_*: the answer distribution before the first step, after the last prefix that is at
-- most half of the steps, and after the last step; null: not probed
select t.trace_id, t.run_id, m.name as model, m.quant, t.task, t.problem_id, p.source_id, t.sample,
  t.correct, t.finish, t.answer, p.answer as true_answer, t.extraction_problem, p.n_steps as problem_steps,
  t.n_prompt, t.n_tokens, t.n_steps, t.n_probe_tokens,
  t.mean_entropy, t.max_entropy, t.mean_surprisal, t.log_prob,
  first.entropy as answer_entropy_first, half.entropy as answer_entropy_half, last.entropy as answer_entropy_last,
  first.p_true as p_true_first, half.p_true as p_true_half, last.p_true as p_true_last
from traces t
join runs r on r.run_id = t.run_id
join models m on m.sha256 = r.model_sha256
join problems p on p.task = t.task and p.problem_id = t.problem_id
join tasks on tasks.task = t.task
left join probes first on first.trace_id = t.trace_id and first.estimator = tasks.kind and first.k = 0
left join probes half on half.trace_id = t.trace_id and half.estimator = tasks.kind and half.k =
  (select max(k) from probes where trace_id = t.trace_id and estimator = tasks.kind and position <= 0.5)
left join probes last on last.trace_id = t.trace_id and last.estimator = tasks.kind and last.k =
  (select max(k) from probes where trace_id = t.trace_id and estimator = tasks.kind)""",
    "step_entropy": """-- one row per probe: what the model would answer after the first k steps; entropies in nats
-- step_*: over the tokens of the k-th step, the one that the prefix ends with; null at k = 0
select b.trace_id, t.run_id, m.name as model, m.quant, t.task, t.problem_id, t.sample, t.correct,
  b.estimator, b.k, b.position, b.n_tokens, b.entropy, b.entropy_lower, b.entropy_upper, b.residual, b.invalid,
  b.p_true, b.log_p_true, b.leader, p.answer as true_answer, coalesce(b.leader = p.answer, 0) as leader_true,
  s.mean_entropy as step_mean_entropy, s.max_entropy as step_max_entropy, s.mean_surprisal as step_mean_surprisal,
  s.text as step_text, b.control, b.n_rollouts
from probes b
join traces t on t.trace_id = b.trace_id
join runs r on r.run_id = t.run_id
join models m on m.sha256 = r.model_sha256
join problems p on p.task = t.task and p.problem_id = t.problem_id
left join steps s on s.trace_id = b.trace_id and s.step_index = b.k - 1""",
    "run_summary": """-- one row per run; accuracy and *_rate: shares of its traces
-- entropies in nats, means over traces; answer_entropy_half_*: see trace_summary
-- (in SQL that DuckDB understands too; else it would take every column for text)
select r.run_id, m.name as model, m.quant, m.bits_per_weight, r.task, r.temperature, r.seed, r.lanes,
  coalesce(t.n_traces, 0) as n_traces, coalesce(t.n_problems, 0) as n_problems,
  t.accuracy, t.extraction_failure_rate, t.truncation_rate,
  coalesce(t.n_tokens, 0) as n_tokens, coalesce(t.n_probe_tokens, 0) as n_probe_tokens, t.mean_tokens, t.mean_steps,
  t.mean_entropy_right, t.mean_entropy_wrong, t.answer_entropy_half_right, t.answer_entropy_half_wrong,
  s.started, s.ended, s.seconds
from runs r
join models m on m.sha256 = r.model_sha256
left join (
  select run_id, count(trace_id) as n_traces, count(distinct problem_id) as n_problems, avg(correct) as accuracy,
    avg(case when answer is null then 1.0 else 0.0 end) as extraction_failure_rate,
    avg(case when finish = 'length' then 1.0 else 0.0 end) as truncation_rate,
    sum(n_tokens) as n_tokens, sum(n_probe_tokens) as n_probe_tokens,
    avg(n_tokens) as mean_tokens, avg(n_steps) as mean_steps,
    avg(case when correct = 1 then mean_entropy end) as mean_entropy_right,
    avg(case when correct = 0 then mean_entropy end) as mean_entropy_wrong,
    avg(case when correct = 1 then answer_entropy_half end) as answer_entropy_half_right,
    avg(case when correct = 0 then answer_entropy_half end) as answer_entropy_half_wrong
  from trace_summary group by run_id
) t on t.run_id = r.run_id
left join (
  select run_id, min(started) as started, max(ended) as ended, sum(seconds) as seconds from sessions group by run_id
) s on s.run_id = r.run_id""",
}


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
    """Version 8: a claim's key beside its wording, which may change. Null: unknown wording."""
    conn.execute("alter table verdicts add column claim_key text /* identifies the claim, however it is worded */")
    renamed = [(key, claim) for claim, key in CLAIM_KEYS.items()]
    conn.executemany("update verdicts set claim_key = ? where claim = ?", renamed)
    prefix = "exceeds control: "
    key = f"'exceeds_control:' || substr(claim, {len(prefix) + 1})"
    conn.execute(f"update verdicts set claim_key = {key} where claim like '{prefix}%'")


# The n-th makes version n.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...]
MIGRATIONS = (first, second, third, fourth, fifth, sixth, seventh, eighth)


def version(conn: sqlite3.Connection) -> int:
    """The number of migrations that the file has seen."""
    return conn.execute("pragma user_version").fetchone()[0]


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
