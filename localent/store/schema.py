"""The tables and views with their units, as SQL; migrations.py makes them.

The tables are those of the version that brought them; columns that came later are in migrations.py. Comments may be
corrected, because `localent schema` reads them here and not in the file.
"""

from __future__ import annotations

import re

APPLICATION_ID = 0x6C636E74  # "lcnt": marks the file as ours

TABLES_1 = (
    """create table models ( -- one GGUF file; the same label with other content is another model
  sha256 text primary key,             -- of the whole file
  name text not null,                  -- the name it was first used under
  path text not null,                  -- where the file was last seen
  arch text not null,                  -- architecture, as GGUF spells it
  quant text not null,                 -- as GGUF spells it
  n_params integer not null,           -- weights
  file_bytes integer not null,         -- bytes
  bits_per_weight real not null,       -- bits of all tensors / number of weights
  tensor_types text not null,          -- JSON: GGUF type -> number of weights
  n_vocab integer not null,            -- tokens in the vocabulary
  n_ctx_train integer not null,        -- tokens of context that it was trained with
  tokenizer_sha256 text not null,      -- of the vocabulary and the tokenizer's settings
  template_sha256 text                 -- of the chat template; null: the file has none
) strict""",
    """create table tasks ( -- a named set of problems
  task text primary key,               -- its name
  kind text not null,                  -- the kind of answer: "number" | "choice"
  source text                          -- where the problems come from
) strict""",
    """create table problems ( -- one question and its true answer
  task text not null references tasks, -- the set of problems
  problem_id text not null,            -- content hash
  source_id text not null,             -- the data set's own id, or its line number
  question text not null,              -- its text
  answer text not null,                -- the true answer, normalised
  choices text not null,               -- JSON: [{"label": ..., "text": ...}]; []: no options are offered
  solution text,                       -- a worked solution, where there is one
  n_steps integer,                     -- difficulty, where the data set knows it
  primary key (task, problem_id)
) strict""",
    """create table runs ( -- one model x task x settings: everything needed to repeat it
  run_id text primary key,             -- content hash of model, task, settings and build
  model_sha256 text not null references models, -- the model's file
  task text not null references tasks, -- the set of problems
  settings text not null,              -- JSON; the columns below are copies for convenience, null where not set
  build text not null,                 -- JSON: versions, backend, system
  temperature real,                    -- of sampling; 0: always the most likely token
  top_p real,                          -- sampled from the most likely tokens that hold this probability
  top_k integer,                       -- sampled from this many of the most likely tokens; 0: from all
  seed integer,                        -- of sampling
  max_tokens integer,                  -- tokens that a trace may have
  lanes integer,                       -- sequences decoded side by side
  threads integer,                     -- CPU threads
  gpu_layers integer,                  -- layers on the GPU
  shots integer                        -- worked examples in the prompt
) strict""",
    """create table sessions ( -- one invocation that worked on a run; the only table with times of day
  session_id integer primary key,      -- number of the session
  run_id text not null references runs on delete cascade, -- the run
  host text not null,                  -- the machine's name
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
  run_id text not null references runs on delete cascade, -- the run
  task text not null,                  -- the set of problems
  problem_id text not null,            -- the problem
  sample integer not null,             -- which attempt of the run at this problem, from 0
  correct integer not null check (correct in (0, 1)), -- 1: graded right; 0: wrong
  finish text not null,                -- "stop" | "length": at the limit of tokens or of the context | "loop": repeated
                                       -- itself | "early": stopped by a rule, which gave the leading answer | "given"
  answer text,                         -- what grading read, normalised; null: nothing found
  answer_raw text,                     -- the same as it stands in the text
  extraction_method text not null,     -- how the answer was read
  extraction_problem text,             -- why answer is null
  n_prompt integer not null,           -- tokens of the prompt
  n_tokens integer not null,           -- tokens generated; those that came from outside are n_given
  n_steps integer not null,            -- reasoning steps, the answer not counted
  n_probe_tokens integer not null,     -- tokens fed for the probes that were read along with the trace
  mean_entropy real,                   -- nats, over tokens; null: no token
  max_entropy real,                    -- nats, over tokens
  mean_surprisal real,                 -- nats, over tokens
  log_prob real not null,              -- nats: log-probability of all tokens, minus the sum of surprisals
  text text not null,                  -- as the model wrote it, with what came from outside
  foreign key (task, problem_id) references problems,
  unique (run_id, problem_id, sample)
) strict""",
    "create index traces_by_problem on traces (task, problem_id)",
    """create table tokens ( -- one token of a trace: the prediction that was made and the token taken
  trace_id integer not null references traces on delete cascade, -- the trace
  token_index integer not null,        -- its place in the trace, from 0
  token_id integer not null,           -- in the model's vocabulary
  text text not null,                  -- the characters that this token completes; joined up: the text of the trace
  piece blob,                          -- its exact bytes where they differ from text: parts of a character
  surprisal real not null,             -- nats: minus the log-probability of the token, at temperature 1
  entropy real not null,               -- nats, of the full vocabulary at temperature 1
  varentropy real not null,            -- nats squared
  renyi2 real not null,                -- nats: Rényi entropy of order 2
  top1_prob real not null,             -- probability of the most likely token
  margin real not null,                -- nats: log-probability of the first minus the second; inf: only one
                                       -- token is possible
  rank integer not null,               -- 1 + the number of tokens that were more likely than the one taken
  self_certainty real not null,        -- nats: KL(uniform||p); inf: some token is impossible
  topk_confidence real,                -- nats: minus the mean log-probability of the top k; null: not asked for
  topk_bias real,                      -- nats: entropy minus the part of it that the top k make up; null: not asked for
  primary key (trace_id, token_index)
) strict, without rowid""",
    """create table steps ( -- one reasoning step of a trace, or its statement of the answer
  trace_id integer not null references traces on delete cascade, -- the trace
  step_index integer not null,         -- its place in the trace, from 0
  kind text not null,                  -- "reasoning" | "answer"
  start_token integer not null,        -- first token_index
  end_token integer not null,          -- one past the last token_index
  mean_entropy real,                   -- nats, over its tokens; null: no token
  max_entropy real,                    -- nats, over its tokens
  mean_surprisal real,                 -- nats, over its tokens
  text text not null,                  -- as the model wrote it
  primary key (trace_id, step_index)
) strict, without rowid""",
    """create table probes ( -- the answer distribution after the first k steps of a trace
  trace_id integer not null references traces on delete cascade, -- the trace
  k integer not null,                  -- reasoning steps in the prefix, 0..K
  estimator text not null,             -- the kind of answer where computed from logits: "number", "choice" (by letter),
                                       -- "option text"; "rollout" where sampled; a control adds its name:
                                       -- "number:shuffled"
  n_tokens integer not null,           -- tokens of the prefix after the prompt, with those from outside
  position real not null,              -- k / K; 0 where K is 0
  entropy real not null,               -- nats. Of the answer, given that there is one; null: next to none. Computed
                                       -- where explored, estimated without bias elsewhere; rollout: Miller and Madow's
  entropy_lower real not null,         -- nats. A bound, for this shape of call: the residual on the leading answer;
                                       -- rollout: the plug-in entropy, which is biased low and no bound
  entropy_upper real not null,         -- nats. A bound, for this shape of call: the residual over all answers;
                                       -- rollout: ln of those with an answer, the most that so many can show
  residual real not null,              -- probability of what was not explored; rollout: 0
  invalid real not null,               -- probability of no answer; rollout: share that cannot be parsed
  p_true real not null,                -- probability of the true answer, given that there is one; rollout: its share
  log_p_true real,                     -- nats; null: p_true is 0; rollout: at least ln of 1 / (2 n_rollouts)
  leader text,                         -- the most likely answer; null: none was found, or what was not explored could
                                       -- still overtake it; rollout: the most frequent
  n_fed integer not null,              -- tokens fed after the prefix: cue, search, the true answer's path; rollout:
                                       -- all continuations
  primary key (trace_id, k, estimator)
) strict, without rowid""",
    """create table answers ( -- one possible answer at a probe
  trace_id integer not null,           -- the trace
  k integer not null,                  -- reasoning steps in the prefix, 0..K
  estimator text not null,             -- as in probes
  answer_rank integer not null,        -- 1: the most likely
  value text not null,                 -- the answer, normalised
  prob real not null,                  -- probability, given that there is an answer; rollout: its share
  primary key (trace_id, k, estimator, answer_rank),
  foreign key (trace_id, k, estimator) references probes on delete cascade
) strict, without rowid""",
)

SIGNS = ("+", "-", "−", "*", "×", "/", "÷", "=")  # an index over these: they are asked for often
SPELLED = [f"'{space}{sign}'" for sign in SIGNS for space in ("", " ")]
OPERATORS = "({})".format(" or ".join(f"text = {text}" for text in SPELLED))  # SQLite makes the list of an "in" per row
OPERATORS_2 = "text in ({})".format(", ".join(SPELLED))  # of the index until version 18
TABLES_2 = (
    """create table alternatives ( -- one of the most likely tokens at a prediction; only in runs with --alternatives
  trace_id integer not null,           -- the trace
  token_index integer not null,        -- place of the prediction in the trace, from 0
  alternative_rank integer not null,   -- 1: the most likely
  token_id integer not null,           -- in the model's vocabulary
  text text not null,                  -- its piece as text
  prob real not null,                  -- probability
  primary key (trace_id, token_index, alternative_rank),
  foreign key (trace_id, token_index) references tokens on delete cascade
) strict, without rowid""",
    f"create index tokens_operators on tokens (text, entropy, surprisal) where {OPERATORS_2}",
)

TABLES_3 = (
    """create table comparisons ( -- one candidate beside a reference on the same texts; delta: candidate - reference
  comparison_id text primary key,      -- content hash of the models, the texts and the settings
  reference_sha256 text references models, -- the reference's file; null: a base file of llama-perplexity
  candidate_sha256 text not null references models, -- the candidate's file
  source text not null,                -- "text" | "base file" | "run"
  source_name text not null,           -- the file's name, or the run's id
  run_id text references runs on delete set null, -- the run whose traces were scored
  candidate_run_id text references runs on delete set null, -- the candidate's own run of the same problems
  n_texts integer not null,            -- chunks of text, or traces
  n_positions integer not null,        -- tokens scored
  mean_kld real not null,              -- nats: KL(reference||candidate), teacher-forced; on plain text over the tokens
                                       -- that the reference gives more than e^-16, as llama-perplexity does
  noise_kld real,                      -- nats: the same of the reference against itself; null: not measured
  rms_delta_p real not null,           -- root mean square of the change in probability of the token that follows
  same_top real not null,              -- share of positions with the same most likely token
  ppl_reference real not null,         -- perplexity of the reference
  ppl_candidate real not null,         -- perplexity of the candidate
  delta_entropy real,                  -- nats, mean over positions; null: the reference is a base file
  delta_varentropy real,               -- nats squared, mean over positions; null: the reference is a base file
  n_pairs integer,                     -- traces paired by problem and seed; null: not run free
  accuracy_reference real,             -- share of right traces of the reference; null: not run free
  accuracy_candidate real,             -- share of right traces of the candidate; null: not run free
  right_to_wrong integer,              -- pairs right in the reference and wrong in the candidate
  wrong_to_right integer,              -- pairs wrong in the reference and right in the candidate
  mcnemar_p real,                      -- exact and two-sided, over problems by their net of attempts lost and won
  length_ratio real,                   -- mean tokens of the candidate's traces / of the reference's
  delta_answer_entropy real,           -- nats, mean over the same prefixes; null: not read
  settings text not null,              -- JSON: how it was compared, and the build
  figures text not null                -- JSON: everything that was found
) strict""",
    """create table divergences ( -- one scored position of a comparison; only on request
  comparison_id text not null references comparisons on delete cascade, -- the comparison
  text_index integer not null,         -- chunk of the text, or number of the trace, from 0
  position integer not null,           -- index of the predicted token in the text fed, prompt included
  trace_id integer references traces on delete cascade, -- the trace; null: plain text
  token_id integer not null,           -- the token that follows
  class text,                          -- "number" | "operator" | "step start" | ...; null: plain text
  kld real not null,                   -- nats: KL(reference||candidate) over the full vocabulary
  kld_reverse real not null,           -- nats: KL(candidate||reference)
  jsd real not null,                   -- nats: Jensen-Shannon divergence
  same_top integer not null check (same_top in (0, 1)), -- 1: both find the same token most likely
  surprisal_reference real not null,   -- nats: of the token that follows
  surprisal_candidate real not null,   -- nats: of the token that follows
  entropy_reference real not null,     -- nats, of the full vocabulary
  entropy_candidate real not null,     -- nats, of the full vocabulary
  varentropy_reference real not null,  -- nats squared
  varentropy_candidate real not null,  -- nats squared
  margin_reference real not null,      -- nats: log-probability of the first minus the second
  margin_candidate real not null,      -- nats: log-probability of the first minus the second
  primary key (comparison_id, text_index, position)
) strict, without rowid""",
)

TABLES_4 = (
    """create table verdicts ( -- one claim about one model, or one step of training, judged by a study
  study_id text not null,              -- content hash of the runs and of what counts as an effect
  task text not null references tasks, -- the set of problems
  subject text not null,               -- a model, or "earlier -> later"
  claim text not null,                 -- what is claimed, in words
  verdict text not null,               -- "supported" | "smaller than X" | "refuted" (of a claim of no effect) |
                                       -- "undecided" | "explained by length" or "by the question" | "reported": no
                                       -- claim | "withheld"
  effect real,                         -- in `unit`; positive: as claimed; null: see note
  low real,                            -- lower end of the 95 % interval, clustered by problem
  high real,                           -- upper end of it
  unit text not null,                  -- of effect, low and high
  test text not null,                  -- where p is from
  p real,                              -- two-sided
  n integer not null,                  -- traces
  n_problems integer not null,         -- problems of these traces
  selected integer not null,           -- 1: compares right and wrong traces, which are selected on the outcome
  runs text not null,                  -- JSON: ids of the runs behind it
  note text not null,                  -- what qualifies it
  primary key (study_id, task, subject, claim)
) strict, without rowid""",
)

TABLES_5 = (
    """create table checks ( -- one finding of 'localent doctor' about the machine, build and model of a session
  session_id integer not null references sessions on delete cascade, -- the session
  part text not null,                  -- "machine" | "build" | "gpu" | "model" | "speed" | "invariance" | "noise" | ...
  name text not null,                  -- what was examined
  value text,                          -- what was found; null: could not be found out
  number real,                         -- value, where it is a number
  unit text,                           -- of number
  ok integer check (ok in (0, 1)),     -- 1: as it should be; 0: not; null: nothing to judge
  note text,                           -- what it means, or what to do
  primary key (session_id, part, name)
) strict, without rowid""",
)

TABLES_6 = (
    """create table calibrations ( -- a map from one signal of a run's traces to the probability of being right
  run_id text primary key references runs on delete cascade, -- the run that it was fitted on
  signal text not null,                -- key of the signal, as in 'localent signals --json'
  method text not null,                -- "isotonic" | "platt" | "level": the share of right traces
  n integer not null,                  -- traces
  n_problems integer not null,         -- problems of these traces
  n_wrong integer not null,            -- wrong ones among the traces
  brier real not null,                 -- mean squared error of the probabilities, cross-fitted by problem
  brier_base real not null,            -- the same of the share of right traces alone
  ece real not null,                   -- expected calibration error, cross-fitted by problem
  figures text not null                -- JSON: the map, its interval, and everything that was found
) strict""",
)

TABLES_7 = (
    """create table texts ( -- one text that a model has read, kept by 'score --keep'; means over its tokens that count
  text_id text primary key,            -- content hash of the model, the tokens, the settings and the build
  model_sha256 text not null references models, -- the model's file
  name text not null,                  -- the file's name, or the run's id
  form text not null,                  -- "plain" | "chat" | "traces"
  n_tokens integer not null,           -- tokens that count: all that are predicted, in dialogues the assistant's
  n_windows integer not null,          -- windows of plain text, conversations or traces
  n_left integer not null,             -- those that there was no time for
  surprisal real not null,             -- nats a token
  perplexity real not null,            -- e^surprisal
  entropy real not null,               -- nats a token, of the full vocabulary
  varentropy real not null,            -- nats squared
  top1 real not null,                  -- share of tokens that were the most likely
  settings text not null,              -- JSON: how it was read
  build text not null                  -- JSON: versions, backend, system
) strict""",
    """create table text_tokens ( -- one token of such a text; measures as in tokens, null where nothing predicts it
  text_id text not null references texts on delete cascade, -- the text
  window_index integer not null,       -- its window, conversation or trace, from 0
  token_index integer not null,        -- its place there, from 0
  token_id integer not null,           -- in the model's vocabulary
  text text not null,                  -- the characters that this token completes
  piece blob,                          -- its exact bytes where they differ from text: parts of a character
  given integer not null check (given in (0, 1)), -- 1: another than the assistant says it; no part of the means
  surprisal real,                      -- nats: minus the log-probability of the token
  entropy real,                        -- nats, of the full vocabulary
  varentropy real,                     -- nats squared
  renyi2 real,                         -- nats: Rényi entropy of order 2
  top1_prob real,                      -- probability of the most likely token
  margin real,                         -- nats: log-probability of the first minus the second
  rank integer,                        -- 1 + the number of tokens that were more likely than this one
  self_certainty real,                 -- nats: KL(uniform||p)
  primary key (text_id, window_index, token_index)
) strict, without rowid""",
)

TABLES_8 = (
    """create table attempts ( -- one problem of a run: how many attempts at it were asked for, whoever makes them
  run_id text not null references runs on delete cascade, -- the run
  problem_id text not null,            -- the problem
  samples integer not null,            -- attempts asked for: samples 0 to this - 1
  primary key (run_id, problem_id)
) strict, without rowid""",
    """create table origins ( -- one trace: which session made it, and so which machine; none in older files
  trace_id integer primary key references traces on delete cascade, -- the trace
  session_id integer not null references sessions on delete cascade -- the session that made it
) strict""",
)


def importance(among: str = "trace_id is not null") -> str:
    """The view step_importance, as SQL. among: a condition on the trace_id of the probes that count.

    Source: resampling importance, Bogdan et al. (2025), Thought Anchors, arXiv 2506.19143, which takes the divergence
    of the two answer distributions. Here half of their squared distance stands for it, which has an unbiased estimate:
    with U and V the shares of equal pairs on either side and W across, (U + V) / 2 - W. Its variance is that of
    U-statistics of multinomial counts, so that it holds where the step changes nothing, too. The error of p(true) is
    that of Agresti and Caffo (2000), doi:10.1080/00031305.2000.10474560, on the scale of the plain difference.
    """
    return f"""-- one row per step, or few steps, with rollouts before and after: what changes when it is resampled
-- continuations from before the step write it anew, those from after it keep it. "No answer" counts as an answer
-- (in SQL that DuckDB understands too)
with sides as (
  select trace_id, k, n_rollouts as m, p_true * (1 - invalid) as p,
    lag(k) over (partition by trace_id order by k) as before_k
  from probes where n_rollouts is not null and {among}
), shares as (
  select a.trace_id, a.k, a.value, a.prob * (1 - b.invalid) as p
  from probes b join answers a on a.trace_id = b.trace_id and a.k = b.k and a.estimator = b.estimator
  where b.n_rollouts is not null and b.{among}
  union all
  select trace_id, k, '' as value, invalid as p from probes where n_rollouts is not null and invalid > 0 and {among}
), sums as (
  select trace_id, k, sum(p * p) as p2, sum(p * p * p) as p3 from shares group by trace_id, k
), across as (
  select s.trace_id, s.k, coalesce(sum(a.p * b.p), 0.0) as pq, coalesce(sum(a.p * b.p * b.p), 0.0) as pq2,
    coalesce(sum(a.p * a.p * b.p), 0.0) as p2q
  from sides s
  join shares a on a.trace_id = s.trace_id and a.k = s.before_k
  left join shares b on b.trace_id = s.trace_id and b.k = s.k and b.value = a.value
  group by s.trace_id, s.k
), found as (
  select y.trace_id, x.k as before_k, y.k, x.m as m, y.m as n, x.p as p_before, y.p as p_after, c.pq,
    (x.m * u.p2 - 1) / (x.m - 1) as u, (y.m * v.p2 - 1) / (y.m - 1) as v,
    (4 * (x.m - 2) * (u.p3 - u.p2 * u.p2) + 2 * (u.p2 - u.p2 * u.p2)) / (x.m * (x.m - 1)) as var_u,
    (4 * (y.m - 2) * (v.p3 - v.p2 * v.p2) + 2 * (v.p2 - v.p2 * v.p2)) / (y.m * (y.m - 1)) as var_v,
    (c.pq2 - c.pq * c.pq) / x.m + (c.p2q - c.pq * c.pq) / y.m
      + (c.pq - c.pq2 - c.p2q + c.pq * c.pq) / (x.m * y.m) as var_pq,
    2 * (c.p2q - u.p2 * c.pq) / x.m + 2 * (c.pq2 - v.p2 * c.pq) / y.m as cov,
    (x.m * x.p + 1) / (x.m + 2) as x_near, (y.m * y.p + 1) / (y.m + 2) as y_near
  from sides y
  join sides x on x.trace_id = y.trace_id and x.k = y.before_k
  join across c on c.trace_id = y.trace_id and c.k = y.k
  join sums u on u.trace_id = y.trace_id and u.k = y.before_k
  join sums v on v.trace_id = y.trace_id and v.k = y.k
), errors as (
  select trace_id, k, (var_u + var_v) / 4 + var_pq - cov as var,
    x_near * (1 - x_near) * (m + 2) / (1.0 * m * m) + y_near * (1 - y_near) * (n + 2) / (1.0 * n * n) as p_var
  from found
)
select t.trace_id, t.run_id, m.name as model, m.quant, t.task, t.problem_id, t.sample, t.correct,
  f.before_k + 1 as first_k, f.k, f.m as n_before, f.n as n_after,
  (f.u + f.v) / 2 - f.pq as shift, sqrt(case when e.var > 0 then e.var else 0.0 end) as shift_se,
  f.p_before as p_true_before, f.p_after as p_true_after, f.p_after - f.p_before as p_true_change,
  sqrt(e.p_var) as p_true_change_se, s.text as step_text
from found f
join errors e on e.trace_id = f.trace_id and e.k = f.k
join traces t on t.trace_id = f.trace_id
join runs r on r.run_id = t.run_id
join models m on m.sha256 = r.model_sha256
left join steps s on s.trace_id = f.trace_id and s.step_index = f.k - 1"""


VIEWS = {
    "trace_summary": """-- one row per trace; entropies in nats
-- answer_entropy_* and p_true_*: the answer distribution before the first step, after the last prefix that is at
-- most half of the steps, and after the last step; null: not probed
select t.trace_id, t.run_id, m.name as model, m.quant, t.task, t.problem_id, p.source_id, t.sample,
  t.correct, t.finish, t.answer, p.answer as true_answer, t.extraction_problem, p.n_steps as problem_steps,
  t.n_prompt, t.n_tokens, t.n_steps, t.n_probe_tokens,
  t.mean_entropy, t.max_entropy, t.mean_surprisal, t.log_prob,
  first.entropy as answer_entropy_first, half.entropy as answer_entropy_half, last.entropy as answer_entropy_last,
  first.p_true as p_true_first, half.p_true as p_true_half, last.p_true as p_true_last,
  t.n_given
from traces t
join runs r on r.run_id = t.run_id
join models m on m.sha256 = r.model_sha256
join problems p on p.task = t.task and p.problem_id = t.problem_id
join tasks on tasks.task = t.task
left join probes first on first.trace_id = t.trace_id and first.estimator in (tasks.kind, 'option text') and first.k = 0
left join probes half on half.trace_id = t.trace_id and half.estimator in (tasks.kind, 'option text') and half.k =
  (select max(k) from probes
   where trace_id = t.trace_id and estimator in (tasks.kind, 'option text') and position <= 0.5)
left join probes last on last.trace_id = t.trace_id and last.estimator in (tasks.kind, 'option text') and last.k =
  (select max(k) from probes where trace_id = t.trace_id and estimator in (tasks.kind, 'option text'))""",
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
    "ideal_steps": """-- one row per step of a problem whose information is known: what an ideal reader knows after it
select p.task, p.problem_id, e.key as k,
  case when e.key > 0 then json_extract(p.observations, '$[' || (e.key - 1) || ']') end as observation,
  e.value as ideal_entropy,
  case when e.key > 0 then json_extract(p.ideal_entropy, '$[' || (e.key - 1) || ']') - e.value end as ideal_gain,
  json_array_length(p.ideal_answers, '$[' || e.key || ']') as n_answers
from problems p, json_each(p.ideal_entropy) e""",
    "step_importance": importance(),
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

TABLES = frozenset(  # names
    found[1]
    for statements in (TABLES_1, TABLES_2, TABLES_3, TABLES_4, TABLES_5, TABLES_6, TABLES_7, TABLES_8)
    for text in statements
    if (found := re.match(r"create table (\w+)", text))
)
