pragma application_id = 1818455668;
pragma user_version = 6;
CREATE TABLE alternatives ( -- one of the most likely tokens at a prediction; only in runs with --alternatives
  trace_id integer not null,
  token_index integer not null,
  alternative_rank integer not null,   -- 1: the most likely
  token_id integer not null,
  text text not null,                  -- its piece as text
  prob real not null,                  -- probability
  primary key (trace_id, token_index, alternative_rank),
  foreign key (trace_id, token_index) references tokens on delete cascade
) strict, without rowid;
INSERT INTO "alternatives" VALUES(3375213152919439,0,1,7,'x',0.5);
INSERT INTO "alternatives" VALUES(3375213152919439,0,2,8,'�',0.25);
CREATE TABLE answers ( -- one possible answer at a probe
  trace_id integer not null,
  k integer not null,
  estimator text not null,
  answer_rank integer not null,        -- 1: the most likely
  value text not null,                 -- normalised
  prob real not null,                  -- probability
  primary key (trace_id, k, estimator, answer_rank),
  foreign key (trace_id, k, estimator) references probes on delete cascade
) strict, without rowid;
INSERT INTO "answers" VALUES(753504106311915,0,'choice',1,'B',0.75);
INSERT INTO "answers" VALUES(753504106311915,0,'choice',2,'A',0.25);
INSERT INTO "answers" VALUES(753504106311915,1,'choice:none',1,'B',0.75);
INSERT INTO "answers" VALUES(753504106311915,1,'choice:none',2,'A',0.25);
INSERT INTO "answers" VALUES(2103313732852404,0,'rollout',1,'18',0.4);
INSERT INTO "answers" VALUES(2103313732852404,0,'rollout',2,'3',5.93333333333333379222e-01);
INSERT INTO "answers" VALUES(3375213152919439,0,'number',1,'18',0.0);
INSERT INTO "answers" VALUES(3375213152919439,0,'number',2,'3',0.1);
INSERT INTO "answers" VALUES(3375213152919439,0,'rollout',1,'18',0.0);
INSERT INTO "answers" VALUES(3375213152919439,0,'rollout',2,'3',0.9375);
INSERT INTO "answers" VALUES(3375213152919439,1,'number',1,'18',0.25);
INSERT INTO "answers" VALUES(3375213152919439,1,'number',2,'3',0.1);
INSERT INTO "answers" VALUES(3375213152919439,1,'number:shuffled',1,'18',0.25);
INSERT INTO "answers" VALUES(3375213152919439,1,'number:shuffled',2,'3',0.1);
INSERT INTO "answers" VALUES(3375213152919439,2,'number',1,'18',0.5);
INSERT INTO "answers" VALUES(3375213152919439,2,'number',2,'3',0.1);
INSERT INTO "answers" VALUES(3375213152919439,2,'number:shuffled',1,'18',0.5);
INSERT INTO "answers" VALUES(3375213152919439,2,'number:shuffled',2,'3',0.1);
INSERT INTO "answers" VALUES(3375213152919439,2,'rollout',1,'18',0.5);
INSERT INTO "answers" VALUES(3375213152919439,2,'rollout',2,'3',0.4375);
CREATE TABLE checks ( -- one finding of 'localent doctor' about the machine, build and model of a session
  session_id integer not null references sessions on delete cascade,
  part text not null,                  -- "machine" | "build" | "gpu" | "model" | "speed" | "invariance" | "noise" | ...
  name text not null,
  value text,                          -- null: could not be found out
  number real,                         -- value, where it is a number
  unit text,
  ok integer check (ok in (0, 1)),     -- null: nothing to judge
  note text,
  primary key (session_id, part, name)
) strict, without rowid;
CREATE TABLE comparisons ( -- one candidate beside a reference on the same texts; delta: candidate - reference
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
) strict;
CREATE TABLE divergences ( -- one scored position of a comparison; only on request
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
) strict, without rowid;
CREATE TABLE models ( -- one GGUF file; the same label with other content is another model
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
) strict;
INSERT INTO "models" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','demo','/m/demo.gguf','llama','F16',3,4,16.0,'{"F16": 2, "F32": 1}',512,1024,'b',NULL);
CREATE TABLE probes ( -- the answer distribution after the first k steps of a trace
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
) strict, without rowid;
INSERT INTO "probes" VALUES(753504106311915,0,'choice',0,0.0,1.0,0.1,1.5,0.01,0.02,0.75,-2.87682072451780901367e-01,'B',11);
INSERT INTO "probes" VALUES(753504106311915,1,'choice:none',0,1.0,1.0,0.1,1.5,0.01,0.02,0.75,-2.87682072451780901367e-01,'B',11);
INSERT INTO "probes" VALUES(2103313732852404,0,'rollout',0,0.0,0.7,0.6,5.01063529409625552091e+00,0.0,6.66666666666666709456e-03,0.4,-0.916290731874155,NULL,11);
INSERT INTO "probes" VALUES(3375213152919439,0,'number',0,0.0,1.0,0.1,1.5,0.01,0.02,0.0,NULL,NULL,11);
INSERT INTO "probes" VALUES(3375213152919439,0,'rollout',0,0.0,0.7,0.6,2.7725887222397811449e+00,0.0,0.0625,0.0,-3.46573590279972654215e+00,NULL,11);
INSERT INTO "probes" VALUES(3375213152919439,1,'number',2,0.5,0.75,0.1,1.5,0.01,0.02,0.25,-1.38629436111989057245e+00,'3',11);
INSERT INTO "probes" VALUES(3375213152919439,1,'number:shuffled',2,0.5,0.75,0.1,1.5,0.01,0.02,0.25,-1.38629436111989057245e+00,'3',11);
INSERT INTO "probes" VALUES(3375213152919439,2,'number',4,1.0,0.5,0.1,1.5,0.01,0.02,0.5,-6.93147180559945286226e-01,'18',11);
INSERT INTO "probes" VALUES(3375213152919439,2,'number:other-question',4,1.0,0.5,0.1,1.5,0.01,0.02,0.5,-6.93147180559945286226e-01,NULL,11);
INSERT INTO "probes" VALUES(3375213152919439,2,'number:shuffled',4,1.0,0.5,0.1,1.5,0.01,0.02,0.5,-6.93147180559945286226e-01,'18',11);
INSERT INTO "probes" VALUES(3375213152919439,2,'rollout',4,1.0,0.7,0.6,2.7725887222397811449e+00,0.0,0.0625,0.5,-6.93147180559945286226e-01,'18',11);
CREATE TABLE problems ( -- one question and its true answer
  task text not null references tasks,
  problem_id text not null,            -- content hash
  source_id text not null,             -- the data set's own id, or its line number
  question text not null,
  answer text not null,                -- the true answer, normalised
  choices text not null,               -- JSON: [{"label": ..., "text": ...}]; []: a number is asked for
  solution text,                       -- a worked solution, where there is one
  n_steps integer,                     -- difficulty, where the data set knows it
  primary key (task, problem_id)
) strict;
INSERT INTO "problems" VALUES('sums','00','1','How many €?','18','[]','9 + 9 = 18',2);
INSERT INTO "problems" VALUES('sums','01','2','Which?','B','[{"label": "A", "text": "this"}, {"label": "B", "text": "that"}]',NULL,NULL);
INSERT INTO "problems" VALUES('which','01','2','Which?','B','[{"label": "A", "text": "this"}, {"label": "B", "text": "that"}]',NULL,NULL);
CREATE TABLE runs ( -- one model x task x settings: everything needed to repeat it
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
) strict;
INSERT INTO "runs" VALUES('0123456789ab','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','sums','{"lanes": 8, "seed": 1, "temperature": 0.7}','{"localent": "0.1"}',0.7,NULL,NULL,1,NULL,8,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('fedcba987654','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','which','{"lanes": 8, "seed": 1, "temperature": 0.7}','{"localent": "0.1"}',0.7,NULL,NULL,1,NULL,8,NULL,NULL,NULL);
CREATE TABLE sessions ( -- one invocation that worked on a run; the only table with times of day
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
) strict;
CREATE TABLE steps ( -- one reasoning step of a trace, or its statement of the answer
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
) strict, without rowid;
INSERT INTO "steps" VALUES(3375213152919439,0,'reasoning',0,2,0.5,1.0,0.05,'Step 1: 9 ');
INSERT INTO "steps" VALUES(3375213152919439,1,'reasoning',2,5,3.0,4.0,3.00000000000000044408e-01,'€
');
INSERT INTO "steps" VALUES(3375213152919439,2,'answer',5,6,5.0,5.0,0.5,'18');
CREATE TABLE tasks ( -- a named set of problems
  task text primary key,
  kind text not null,                  -- "number" | "choice"
  source text                          -- where the problems come from
) strict;
INSERT INTO "tasks" VALUES('sums','number','made up');
INSERT INTO "tasks" VALUES('which','choice',NULL);
CREATE TABLE tokens ( -- one generated token: the prediction that was made and the token taken
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
) strict, without rowid;
INSERT INTO "tokens" VALUES(3375213152919439,0,7,'Step 1:',NULL,0.0,0.0,0.25,0.9,0.5,1.5,2,9.0e+999,NULL,NULL);
INSERT INTO "tokens" VALUES(3375213152919439,1,7,' 9 ',NULL,0.1,1.0,0.25,0.9,0.5,1.5,2,9.0e+999,NULL,NULL);
INSERT INTO "tokens" VALUES(3375213152919439,2,7,'',X'E2',0.2,2.0,0.25,0.9,0.5,1.5,2,9.0e+999,NULL,NULL);
INSERT INTO "tokens" VALUES(3375213152919439,3,7,'€',X'82AC',3.00000000000000044408e-01,3.0,0.25,0.9,0.5,1.5,2,9.0e+999,NULL,NULL);
INSERT INTO "tokens" VALUES(3375213152919439,4,7,'
',NULL,0.4,4.0,0.25,0.9,0.5,1.5,2,9.0e+999,NULL,NULL);
INSERT INTO "tokens" VALUES(3375213152919439,5,7,'18',NULL,0.5,5.0,0.25,0.9,0.5,1.5,2,9.0e+999,NULL,NULL);
CREATE TABLE traces ( -- one attempt of a run at a problem
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
) strict;
INSERT INTO "traces" VALUES(753504106311915,'fedcba987654','which','01',0,1,'stop','18','18','last number',NULL,12,0,0,22,NULL,NULL,NULL,0.0,'Step 1: 9 €
18');
INSERT INTO "traces" VALUES(2103313732852404,'0123456789ab','sums','00',1,0,'stop','18','18','last number',NULL,12,0,0,0,NULL,NULL,NULL,0.0,'Step 1: 9 €
18');
INSERT INTO "traces" VALUES(3375213152919439,'0123456789ab','sums','00',0,1,'stop','18','18','last number',NULL,12,6,2,33,2.5,5.0,0.25,-1.5,'Step 1: 9 €
18');
CREATE TABLE verdicts ( -- one claim about one model, or one step of training, judged by a study
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
  note text not null, p_holm real /* p by Holm's rule over the subject's claims */,
  primary key (study_id, task, subject, claim)
) strict, without rowid;
CREATE INDEX traces_by_problem on traces (task, problem_id);
CREATE INDEX tokens_operators on tokens (text, entropy, surprisal) where text in ('+', ' +', '-', ' -', '−', ' −', '*', ' *', '×', ' ×', '/', ' /', '÷', ' ÷', '=', ' =');
CREATE VIEW trace_summary as
-- one row per trace; entropies in nats
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
  (select max(k) from probes where trace_id = t.trace_id and estimator = tasks.kind);
CREATE VIEW step_entropy as
-- one row per probe: what the model would answer after the first k steps; entropies in nats
-- step_*: over the tokens of the k-th step, the one that the prefix ends with; null at k = 0
select b.trace_id, t.run_id, m.name as model, m.quant, t.task, t.problem_id, t.sample, t.correct,
  b.estimator, b.k, b.position, b.n_tokens, b.entropy, b.entropy_lower, b.entropy_upper, b.residual, b.invalid,
  b.p_true, b.log_p_true, b.leader, p.answer as true_answer, coalesce(b.leader = p.answer, 0) as leader_true,
  s.mean_entropy as step_mean_entropy, s.max_entropy as step_max_entropy, s.mean_surprisal as step_mean_surprisal,
  s.text as step_text
from probes b
join traces t on t.trace_id = b.trace_id
join runs r on r.run_id = t.run_id
join models m on m.sha256 = r.model_sha256
join problems p on p.task = t.task and p.problem_id = t.problem_id
left join steps s on s.trace_id = b.trace_id and s.step_index = b.k - 1;
CREATE VIEW run_summary as
-- one row per run; accuracy and *_rate: shares of its traces
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
) s on s.run_id = r.run_id;
