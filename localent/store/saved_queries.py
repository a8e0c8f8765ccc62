"""Ready-made statements, known by name: `localent sql --queries` lists them, `localent sql NAME` runs one.

All stay under 200 ms on a million token rows (tests/store/test_saved_queries.py counts the rows they walk): they start
from traces, steps or probes, and reach tokens by key or by the index over operator tokens. They are SQL that DuckDB
understands too, on a folder of Parquet files (see lake).
"""

from __future__ import annotations

from dataclasses import dataclass

from localent.store.schema import OPERATORS


@dataclass(frozen=True, slots=True)
class Query:
    """One ready-made statement."""

    name: str
    about: str  # one line
    sql: str


OWN = "b.control is null and b.n_rollouts is null"  # the trace's own prefix, computed from logits
LAST = f"probes b on b.trace_id = t.trace_id and b.k = t.n_steps and {OWN}"  # after the last reasoning step
PROBLEM = "join problems p on p.task = t.task and p.problem_id = t.problem_id"

QUERIES = (
    Query(
        "confident-mistakes",
        "Wrong traces whose answer distribution had settled: lowest answer entropy after the last step first.",
        f"""select t.trace_id, t.run_id, p.source_id, t.sample, t.answer, p.answer as true_answer,
  b.entropy as answer_entropy_last, b.p_true, t.mean_entropy
from traces t join {LAST} {PROBLEM}
where t.correct = 0 order by b.entropy limit 20""",
    ),
    Query(
        "uncertain-right",
        "Right traces that were least certain of it: highest answer entropy after the last step first.",
        f"""select t.trace_id, t.run_id, p.source_id, t.sample, t.answer, b.entropy as answer_entropy_last,
  b.p_true, t.mean_entropy
from traces t join {LAST} {PROBLEM}
where t.correct = 1 order by b.entropy desc limit 20""",
    ),
    Query(
        "answered-then-abandoned",
        "Wrong traces in which the true answer had led after an earlier step: where it led last, and how strongly.",
        f"""select t.trace_id, t.run_id, p.source_id, t.sample, t.answer, p.answer as true_answer,
  max(b.k) as led_until_step, t.n_steps, max(b.p_true) as p_true_highest
from traces t {PROBLEM} join probes b on b.trace_id = t.trace_id and {OWN}
where t.correct = 0 and b.k < t.n_steps and b.leader = p.answer
group by t.trace_id, t.run_id, p.source_id, t.sample, t.answer, p.answer, t.n_steps
order by p_true_highest desc limit 20""",
    ),
    Query(
        "flips",
        "Problems that one run solved and another did not, same task and sample: compare two quants or stages.",
        f"""select p.source_id, a.sample, ma.name || ' ' || ma.quant as right_in, a.run_id as right_run,
  mb.name || ' ' || mb.quant as wrong_in, b.run_id as wrong_run, p.answer as true_answer, b.answer as wrong_answer,
  a.trace_id as right_trace, b.trace_id as wrong_trace
from traces a join traces b on b.task = a.task and b.problem_id = a.problem_id and b.sample = a.sample
  and b.run_id <> a.run_id and b.correct = 0
join runs ra on ra.run_id = a.run_id join models ma on ma.sha256 = ra.model_sha256
join runs rb on rb.run_id = b.run_id join models mb on mb.sha256 = rb.model_sha256
{PROBLEM.replace("t.", "a.")}
where a.correct = 1 limit 50""",
    ),
    Query(
        "operator-entropy",
        "Entropy at the tokens + - * / =, before the operator was taken: mean and how often, most uncertain first.",
        f"""with spelled as (select text, count(*) as n, sum(entropy) as entropies, max(entropy) as highest,
  sum(surprisal) as surprisals from tokens where {OPERATORS} and given = 0 group by text)
select trim(text) as operator, sum(n) as n, sum(entropies) / sum(n) as mean_entropy, max(highest) as max_entropy,
  sum(surprisals) / sum(n) as mean_surprisal
from spelled group by trim(text) order by mean_entropy desc""",
    ),
    Query(
        "uncertain-tokens",
        "The tokens at which the model hesitated most, from the most uncertain steps.",
        """with worst as (select trace_id, start_token, end_token from steps order by max_entropy desc limit 40)
select k.trace_id, k.token_index, k.text, k.entropy, k.surprisal, k.rank, k.top1_prob
from worst cross join tokens k where k.trace_id = worst.trace_id
  and k.token_index >= worst.start_token and k.token_index < worst.end_token and k.given = 0
order by k.entropy desc limit 20""",
    ),
    Query(
        "surprising-steps",
        "Reasoning steps whose tokens were most surprising to the model that wrote them.",
        """select s.trace_id, t.correct, s.step_index, s.mean_surprisal, s.mean_entropy, s.text
from (select * from steps where kind = 'reasoning' order by mean_surprisal desc limit 20) s
join traces t on t.trace_id = s.trace_id order by s.mean_surprisal desc""",
    ),
    Query(
        "turning-points",
        "Steps between two neighbouring probes that changed the probability of the true answer most, up or down.",
        f"""with moves as (select b.trace_id, b.k, b.p_true,
    lag(b.k) over earlier as from_k, lag(b.p_true) over earlier as before
  from probes b where {OWN} window earlier as (partition by b.trace_id order by b.k)),
most as (select * from moves where before is not null order by abs(p_true - before) desc limit 20)
select m.trace_id, t.correct, m.from_k as after_step, m.k as to_step, m.p_true - m.before as change, m.before,
  m.p_true as after, (select group_concat(text, '') from (select s.text from steps s where s.trace_id = m.trace_id
    and s.step_index >= m.from_k and s.step_index < m.k order by s.step_index)) as text
from most m join traces t on t.trace_id = m.trace_id order by abs(m.p_true - m.before) desc""",
    ),
    Query(
        "answer-entropy-by-step",
        "Mean answer entropy and probability of the true answer after k steps, right and wrong traces probed there.",
        f"""select t.run_id, t.correct, b.k, count(*) as n, avg(b.entropy) as answer_entropy, avg(b.p_true) as p_true
from probes b join traces t on t.trace_id = b.trace_id
where {OWN} group by t.run_id, t.correct, b.k order by 1, 2 desc, 3""",
    ),
    Query(
        "by-length",
        "Accuracy and entropy by length of the trace, in bins of 50 tokens: what length alone explains.",
        """select run_id, n_tokens - n_tokens % 50 as tokens_from, count(*) as n, avg(correct) as accuracy,
  avg(mean_entropy) as mean_entropy from traces group by run_id, n_tokens - n_tokens % 50 order by 1, 2""",
    ),
    Query(
        "unread-answers",
        "Traces in which grading found no answer, or that were cut off: why, and how they end.",
        f"""select t.trace_id, t.run_id, p.source_id, t.finish, t.extraction_problem, substr(t.text, -80) as ends_with
from traces t {PROBLEM} where t.answer is null or t.finish = 'length' limit 50""",
    ),
    Query(
        "hardest-problems",
        "Problems by share of wrong traces over all runs, with the answers given.",
        """select p.task, p.source_id, count(*) as n, 1 - avg(t.correct) as wrong, p.answer as true_answer,
  group_concat(distinct t.answer) as answers
from traces t join problems p on p.task = t.task and p.problem_id = t.problem_id
group by p.task, p.problem_id, p.source_id, p.answer order by wrong desc, n desc limit 20""",
    ),
)


def named(name: str) -> Query | None:
    """The query of that name."""
    return next((query for query in QUERIES if query.name == name), None)
