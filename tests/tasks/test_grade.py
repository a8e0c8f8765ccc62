"""Grading: what counts as a number, which answer a text gives, and agreement with every human solution of GSM8K."""

import json
import random
from fractions import Fraction
from pathlib import Path

import pytest

from localent.records import Choice, Extraction, Problem
from localent.tasks import CHOICE, NUMBER, answer_start, extract, grade, load, normalise_number
from localent.tasks.statements import MOST

EXCERPTS = Path(__file__).parents[1] / "data"  # our own wording, in the layouts of the public sets
CHOICES = (
    Choice("A", "Planetary density"),
    Choice("B", "longer years"),
    Choice("C", "banana"),
    Choice("D", "red blood cells"),
)
NUMERIC = tuple(Choice(str(i), c.text) for i, c in enumerate(CHOICES, start=1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1000", "1000"),
        ("1,000", "1000"),
        ("1000.0", "1000"),
        ("$1,000", "1000"),
        ("1000%", "1000"),
        ("\\$1{,}000", "1000"),
        ("1\u00a0000", "1000"),
        ("1\u2009000", "1000"),
        ("10 000", "10000"),
        ("5'000", "5000"),
        ("12,00,000", "1200000"),
        ("₹12,34,567", "1234567"),
        ("18.00", "18"),
        ("007", "7"),
        ("1/2", "0.5"),
        ("0.50", "0.5"),
        (".5", "0.5"),
        ("½", "0.5"),
        ("2 1/2", "2.5"),
        ("2½", "2.5"),
        ("½½", None),
        ("3½½", None),
        ("\\frac{3}{4}", "0.75"),
        ("2\\dfrac{1}{2}", "2.5"),
        ("2/6", "1/3"),
        ("-3", "-3"),
        ("\u22123", "-3"),
        ("\u20133", "-3"),
        ("-$3", "-3"),
        ("$-3", "-3"),
        ("negative 3", "-3"),
        ("-0", "0"),
        ("\uff11\uff12", "12"),
        ("\u0663", "3"),
        ("1.5e3", "1500"),
        ("1e-3", "0.001"),
        ("1.5 \u00d7 10^3", "1500"),
        ("1.5\u00d710³", "1500"),
        ("10^6", "1000000"),
        ("1.5 million", "1500000"),
        ("12k", "12000"),
        ("5 thousand", "5000"),
        ("300K", "300"),
        ("18 apples", "18"),
        ("12 cm^2", "12"),
        ("12.", "12"),
        ("**12**", "12"),
        ("_12_", "12"),
        ("9" * 400, "9" * 400),
    ],
)
def test_equal_numbers_are_equal_strings(text, value):
    assert normalise_number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "abc", "nan", "5 - 3", "16-3", "1,0000", "12,5", "1.000,50", "3:30", "2024-05-17", "5/17/2024"),
        *("1.234,50", "3.500,00 €", "12.5,3", "12.5,000", "12 000.5,3", "10^3.5"),
        *("1.2.3", "1/0", "2^3", "A1", "x2", "1e999999999", "9" * 401, "9" * 5000, "$", "-", "1,00"),
    ],
)
def test_what_is_not_one_number_is_no_number(text):
    assert normalise_number(text) is None


def test_normalising_is_exact_and_settles():
    """Any fraction survives being spelled as a fraction; a normalised value normalises to itself."""
    rng = random.Random(7)
    for _ in range(500):
        value = Fraction(rng.randint(-(10**12), 10**12), rng.choice([1, 2, 8, 125, 1000, 3, 7, 10**9]))
        spelled = normalise_number(f"{value.numerator}/{value.denominator}")
        assert Fraction(spelled) == value
        assert normalise_number(spelled) == spelled
        if value.denominator == 1:
            assert normalise_number(f"{value.numerator:,}") == spelled


@pytest.mark.parametrize(
    ("text", "value", "method"),
    [
        ("The answer is 12. 5 apples remain", "12", "answer statement"),
        ("The answer is not 12 but 13.", "13", "answer statement"),
        ("The answer is 12. Wait, the answer is 13.", "13", "answer statement"),
        ("The answer is 12. It is certain, the answer is clear.", "12", "answer statement"),
        ("Answer: **12**", "12", "answer statement"),
        ("**Answer:** 12", "12", "answer statement"),
        ("**Answer**\n\n$12", "12", "answer statement"),
        ("Answer:\n- 12 apples", "12", "answer statement"),
        ("The final answer is:\n\\[\n\\boxed{12}\n\\]", "12", "boxed"),
        ("\\boxed{5 \\text{ apples}}", "5", "boxed"),
        ("\\boxed{\\frac{1}{2}}", "0.5", "boxed"),
        ("#### 1,080", "1080", "answer statement"),
        ("<answer>42</answer>", "42", "answer statement"),
        ("The answer (in dollars) is 12", "12", "answer statement"),
        ("The answer to question 2 is 12", "12", "answer statement"),
        ("The answer is 100% of 50 = 50", "50", "answer statement"),
        ("The answer is 20 percent of $50 = $10", "10", "answer statement"),
        ("The answer is 50 percent of the time.", "50", "answer statement"),
        ("The answer is to share between 2 friends", "2", "answer statement"),
        ("The answer is not just any number: 5", "5", "answer statement"),
        ("The answer is 10 - 3 = 7.", "7", "answer statement"),
        ("The answer is 2 x 3 = 6", "6", "answer statement"),
        ("The answer is 20/4 = 5", "5", "answer statement"),
        ("answer is 3 apples + 4 apples = 7 apples", "7", "answer statement"),
        ("The answer is x = 5.", "5", "answer statement"),
        ("The answer is 12 because 3*4=12, not 5", "12", "answer statement"),
        ("The answer is 7 - great!", "7", "answer statement"),
        ("The answer is - 3", "-3", "answer statement"),
        ("The answer is minus 3", "-3", "answer statement"),
        ("The answer is the 4th", "4", "answer statement"),
        ("Answer: Mr. Smith has 12 apples.", "12", "answer statement"),
        ("The answer is 12 000 dollars", "12000", "answer statement"),
        ("The answer is 50%", "50", "answer statement"),
        ("The answer is 1/2.", "0.5", "answer statement"),
        ("Answer: Janet sells 16 - 3 - 4 = 9 eggs.\nShe makes 9 * 2 = $18 a day.", "18", "last number"),
        ("Answer:\nStep 1: 3*4=12\nStep 2: 12+5=17", "17", "last number"),
        ("<think>maybe the answer is 5</think>\nShe has **6** apples.", "6", "last number"),
        ("<think>The answer is 6.</think>", "6", "answer statement"),
        ("48/2=<<48/2=24>>24", "24", "last number"),
        ("The temperature is negative 3.", "-3", "last number"),
        ("The area is 12 cm^2.", "12", "last number"),
        ("She ran 5 miles at 3:30 pm", "5", "last number"),
        ("It was 5 on 2024-05-17", "5", "last number"),
        ("She was the 4th of 12 and came 3rd", "12", "last number"),
        ("It was 5.\n3. So she has a few", "5", "last number"),
        ("It was 5.\nStep 3: So she has a few", "5", "last number"),
        ("from 10 to 20", "20", "last number"),
    ],
)
def test_number_read(text, value, method):
    found = extract(text, NUMBER)
    assert (found.value, found.method, found.problem) == (value, method, None)
    assert found.raw in text
    assert (answer_start(text, NUMBER) is None) == method.startswith("last")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("  \n\t", "empty"),
        ("no idea", "no answer statement"),
        ("The answer is unclear", "without a readable number"),
        ("She has 4. The answer is 3:30", "no single number"),
        ("She has 4. Answer: 10-20", "no single number"),
        ("Answer: 10 to 20", "no single number"),
        ("answer: 12 or 13", "no single number"),
        ("The answer is 6-3", "no single number"),
        ("The answer is 12,5", "no single number"),
        ("The answer is 1.000,50", "no single number"),
        ("The answer is 1.234,50", "no single number"),
        ("3.500,00 €", "no answer statement"),
        ("12.5,3", "no answer statement"),
        ("The answer is 12 000.5,3", "no single number"),
        ("The answer is between 10 and 20.", "no single number"),
        ("The answer is between $10 and $20, or so.", "no single number"),
        ("It is 6. The answer is not 5.", "no single number"),
        ("The answer is 100% of 50", "no single number"),
        ("The answer is " + "1" * 401, "no single number"),
    ],
)
def test_no_number_and_why(text, problem):
    found = extract(text, NUMBER)
    assert (found.value, found.method) == (None, "none")
    assert problem in found.problem
    assert answer_start(text, NUMBER) is None


@pytest.mark.parametrize(
    ("text", "label", "method"),
    [
        ("Answer: (B)", "B", "answer statement"),
        ("The answer is B.", "B", "answer statement"),
        ("The answer is b", "B", "answer statement"),
        ("The answer is (b).", "B", "answer statement"),
        ("The answer is \uff22", "B", "answer statement"),
        ("**Answer: D**", "D", "answer statement"),
        ("The correct answer is option C.", "C", "answer statement"),
        ("The correct option is D", "D", "answer statement"),
        ("answer: A) Planetary density", "A", "answer statement"),
        ("Answer: B. longer years", "B", "answer statement"),
        ("The answer is D red blood cells", "D", "answer statement"),
        ("The answer is A because it is", "A", "answer statement"),
        ("The answer is not A but B", "B", "answer statement"),
        ("The answer is (A), not (B).", "A", "answer statement"),
        ("\\boxed{\\text{C}}", "C", "boxed"),
        ("\\boxed{(D)}", "D", "boxed"),
        ("#### C", "C", "answer statement"),
        ("the answer is a banana", "C", "answer text"),
        ("The answer is longer years.", "B", "answer text"),
        ("I think A is wrong, so B", "B", "last label"),
        ("Option B is correct, A is incorrect.", "B", "last label"),
        ("It could be A or B. It's C", "C", "last label"),
        ("<think>the answer is A</think> So: (B)", "B", "last label"),
        ("A planet is big, so (D)", "D", "last label"),
        ("Answer: A banana grows in a year.\nSo it takes longer: (B)", "B", "last label"),
        ("It must be red blood cells.", "D", "option text"),
    ],
)
def test_label_read(text, label, method):
    found = extract(text, CHOICE, CHOICES)
    assert (found.value, found.method, found.problem) == (label, method, None)


@pytest.mark.parametrize("text", ["the answer is a grape", "A planet is big", "So it is not A", "the answer is E", ""])
def test_the_article_and_the_excluded_are_no_labels(text):
    found = extract(text, CHOICE, CHOICES)
    assert found.value is None
    assert found.problem


@pytest.mark.parametrize("clause", ["B or C", "either B or C", "either (B), or (C)", "both B and C", "between B and C"])
def test_two_labels_are_no_answer(clause):
    assert "no single option" in extract(f"It is A. The answer is {clause}", CHOICE, CHOICES).problem


def test_one_label_or_an_option_of_such_words_is_an_answer():
    choices = (Choice("A", "neither"), Choice("B", "both the first and the second"), Choice("C", "between them"))
    for text, label in [("B", "B"), ("both the first and the second", "B"), ("between them", "C"), ("neither", "A")]:
        assert extract(f"The answer is {text}.", CHOICE, choices).value == label


def test_an_option_may_have_several_sentences():
    """ARC's easy-test-1709."""
    texts = ("Magma is below ground. Lava is above ground.", "Magma is cool. Lava is hot.", "Magma is below ground.")
    choices = tuple(Choice(label, text) for label, text in zip("ABC", texts, strict=True))
    for choice in choices:
        for end in ("", " So it is.", "\nDone."):
            assert extract(f"The answer is {choice.text}{end}", CHOICE, choices).value == choice.label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The answer is 3.", "3"),
        ("answer: (3)", "3"),
        ("Answer: 2) longer years", "2"),
        ("so option 2", "2"),
        ("1 and 2 are out\n(4)", "4"),
        ("The answer is 3 planets", None),
        ("There are 3 planets", None),
        ("The answer is 3.5", None),
        ("The answer is 1:00 P.M.", None),
        ("The answer is 7", None),
    ],
)
def test_numeric_labels_are_not_quantities(text, label):
    assert extract(text, CHOICE, NUMERIC).value == label


def test_answer_start_points_at_the_statement():
    text = "So 3 * 4 = 12.\nThe answer is 12 eggs.\n#### 12"
    assert answer_start(text, NUMBER) == text.index("The answer")  # two statements in a row count as one
    again = "The answer is 12. Let me check: 5 + 7 = 12. The answer is 12."
    assert answer_start(again, NUMBER) == again.rindex("The answer")


def test_grade_compares_values_and_never_takes_a_missing_answer_for_right():
    problem = Problem("0" * 16, "1", "How much?", "1000")
    assert grade(extract("The answer is $1,000.00.", NUMBER), problem, NUMBER)
    assert not grade(extract("The answer is 100.", NUMBER), problem, NUMBER)
    assert not grade(Extraction(None, None, "none", "x"), problem, NUMBER)


@pytest.mark.parametrize(
    ("value", "gold"),
    [
        *(
            ("2/3", "0.6666666667"),
            ("0.6666666667", "2/3"),
            ("64.92", "64.91999999999999"),
            ("65", "64.99999999999999"),
        ),
        *(("0.67", "2/3"), ("2/3", "0.67"), ("0.667", "0.6666666667"), ("33.33", "33.333333"), ("-1.67", "-5/3")),
        *(("3.14", "3.14159265"), ("0.333333", "1/3"), ("1/3", "0.3333"), ("1200000.000001", "1200000")),
    ],
)
def test_long_decimals_agree_with_their_roundings(value, gold):
    assert NUMBER.agree(value, gold)


@pytest.mark.parametrize(
    ("value", "gold"),
    [
        *(("64.9", "64.92"), ("64.92", "64.9"), ("0.7", "2/3"), ("1", "2/3"), ("0.66", "2/3"), ("33.34", "33.333333")),
        *(("3.1", "3.14159265"), ("3.15", "3.14159265"), ("0.07", "1/15"), ("2/3", "-2/3"), ("0.67", "0.6667")),
        *(("0.333332", "1/3"), ("12", "13"), ("1000000", "1000001"), ("2/3", "3/4"), ("0", "0.000001"), ("5", "50")),
    ],
)
def test_other_numbers_agree_only_if_they_are_equal(value, gold):
    assert not NUMBER.agree(value, gold)


def test_agreement_of_a_rounded_number_is_that_of_python():
    """A fraction that never ends agrees with its own rounding to 2 to 5 places, and with no neighbour of it."""
    rng, n_compared = random.Random(5), 0
    for _ in range(300):
        value, places = Fraction(rng.randint(100, 900), rng.choice([3, 7, 9, 11, 13])), rng.randint(2, 5)
        gold = normalise_number(f"{value.numerator}/{value.denominator}")
        for off in (-1, 0, 1):
            spelled = f"{float(round(value, places) + Fraction(off, 10**places)):.{places}f}"
            if "/" in gold and not spelled.endswith("0"):  # a last zero is not kept: fewer places
                n_compared += 1
                assert NUMBER.agree(spelled, gold) == (off == 0 or abs(Fraction(spelled) / value - 1) <= 1e-6)
    assert n_compared > 400


def solutions_of(*files):
    """(solutions as written, calculator marks and all; their golds)"""
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    solutions = [json.loads(line)["answer"] for line in lines]
    return solutions, [solution.split("#### ")[1].replace(",", "") for solution in solutions]


def test_every_solution_in_the_layout_of_gsm8k_agrees_with_its_gold():
    """With its "####" line, and by its last number without it."""
    solutions, gold = solutions_of(EXCERPTS / "gsm8k" / "test.jsonl")
    assert gold == ["810", "1234", "7.5", "36", "-5", "24500", "43", "36", "40", "800", "0", "1000000"]
    assert [extract(solution, NUMBER).value for solution in solutions] == gold
    bare = [extract(solution.split("####")[0], NUMBER).value for solution in solutions]
    assert [i for i, pair in enumerate(zip(bare, gold, strict=True)) if len(set(pair)) > 1] == []


def test_every_human_solution_of_gsm8k_agrees_with_its_gold(public):
    """8,792 solutions; without their "####" line the last number gives 97 %."""
    solutions, gold = solutions_of(*(public("gsm8k") / f"{name}.jsonl" for name in ("train", "test")))
    assert len(solutions) == 8792
    assert [extract(solution, NUMBER).value for solution in solutions] == gold
    bare = [extract(solution.split("####")[0], NUMBER).value for solution in solutions[:1000]]
    assert sum(map(str.__eq__, map(str, bare), gold)) >= 960


FORMS = [
    "The answer is {l}.",
    "**Answer: ({l})**",
    "The correct option is {l}: {t}",
    "\\boxed{{{l}}}",
    "({l}) is right",
]


@pytest.mark.parametrize("numeric", [False, True])
@pytest.mark.parametrize("name", ["arc-easy", "arc-challenge"])
def test_an_answer_in_the_layout_of_arc_is_read_after_any_wrong_option(name, numeric):
    check_forms(load(name, EXCERPTS / "arc").problems, numeric)


@pytest.mark.parametrize("numeric", [False, True])
def test_every_arc_answer_is_read_after_any_wrong_option(public, numeric):
    check_forms(load("arc-challenge", public("arc")).problems, numeric)


def check_forms(problems, numeric):
    """The true label is read in every form. numeric: labels are 1, 2, ... instead of the file's own."""
    for problem in problems:
        relabelled = {c.label: str(i) if numeric else c.label for i, c in enumerate(problem.choices, start=1)}
        choices = tuple(Choice(relabelled[c.label], c.text) for c in problem.choices)
        truth = relabelled[problem.answer]
        text = next(c.text for c in choices if c.label == truth)
        for form in FORMS:
            said = f"{choices[0].text} is one idea.\n" + form.format(l=truth, t=text)
            assert extract(said, CHOICE, choices).value == truth, said


@pytest.mark.parametrize("name", ["demo-number", "demo-choice"])
def test_every_bundled_solution_agrees_with_its_gold(name):
    task = load(name)
    for problem in task.problems:
        assert grade(extract(problem.solution, task.kind, problem.choices), problem, task.kind), problem
        assert answer_start(problem.solution, task.kind, problem.choices) == problem.solution.rindex("The answer is")


@pytest.mark.parametrize(
    "loop", ["The answer is ", "#### ", "\\boxed{", "12, 13 or ", "Answer:\n", "A or B, ", "* ", "a" * 9]
)
def test_a_model_that_runs_in_circles_is_graded_in_linear_time(loop):
    """About 0.3 s; quadratic reading took minutes, which the suite's timeout ends."""
    for kind in (NUMBER, CHOICE):
        extract(loop * (10000 // len(loop)), kind, CHOICES)


@pytest.mark.parametrize(
    "loop", ["Answer: 1:2 ", "####1", "The answer is 12 or 13, ", "\\boxed{1", "12 is the answer. ", "Answer:\n"]
)
@pytest.mark.parametrize("kind", [NUMBER, CHOICE], ids=["number", "choice"])
def test_the_characters_that_are_read_are_linear_in_the_text(loop, kind, monkeypatch):
    """Clauses do not overlap, and of many statements only the first and the last are read."""
    read = []
    for name in ("stated", "named"):
        reader = getattr(type(kind), name)

        def count(self, clause, choices, reader=reader):
            read.append(clause.end - clause.begin)
            return reader(self, clause, choices)

        monkeypatch.setattr(type(kind), name, count)
    for n in (2000, 16000):
        read.clear()
        extract((loop * n)[:n], kind, CHOICES)
        assert sum(read) <= n + 1000
        assert len(read) <= MOST + 50
