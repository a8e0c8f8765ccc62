"""Gold answers in the manner of MATH, generated with their meaning: no number is ever read as another one."""

import random
from fractions import Fraction

import pytest

from localent.tasks import normalise_number
from localent.tasks.kinds.expression import equivalent, plain

SURDS = (2, 3, 5, 6, 7, 10, 11, 13, 15)
UNITS = (
    "\\text{ cm}",
    "\\text{ square units}",
    "\\,\\text{cm}^2",
    "\\mbox{ inches}",
    "^\\circ",
    "\\%",
    " \\text{ hours}",
)


def numbers(r):
    """(spellings of one number, its value): the plain one first."""
    a, b, c, d = r.randint(2, 9), r.randint(2, 19), r.randint(1, 999), r.randint(1000, 999_999)
    sign = r.choice(("", "", "-"))
    power = r.randint(2, 9)
    ratio, whole = Fraction(a, b), Fraction(c)
    minus = -1 if sign else 1
    yield [f"{sign}{c}", f"{sign}{c}.0", f"x = {sign}{c}", f"{sign}{c}."], minus * whole
    yield (
        [f"{sign}{d}", f"{sign}{d:,}", f"{sign}{d:,}".replace(",", "{,}"), f"{sign}{d:,}".replace(",", ",\\!")],
        minus * d,
    )
    yield [f"{sign}{a}/{b}", *(f"{sign}\\{kind}{{{a}}}{{{b}}}" for kind in ("frac", "dfrac", "tfrac"))], minus * ratio
    yield [f"\\frac{{{sign}{a}}}{{{b}}}", f"\\frac {{{sign}{a}}} {{{b}}}"], minus * ratio
    yield (
        [f"\\frac{a}{a + 1}", f"\\frac {a}{a + 1}"] if a < 9 else ["\\frac12"],
        Fraction(a, a + 1) if a < 9 else Fraction(1, 2),
    )
    yield [f"{c}\\frac{{1}}{{{b}}}", f"{c} \\frac{{1}}{{{b}}}", f"{c}\\ \\tfrac{{1}}{{{b}}}"], c + Fraction(1, b)
    yield [f"{sign}{a}.{c}", f"{sign}{a}.{c}0"], minus * Fraction(f"{a}.{c}")
    yield [f"\\${c}", f"\\$ {c}", f"\\${c}.00"], whole
    yield [f"{c}{r.choice(UNITS)}" for _ in range(2)], whole
    yield [f"10^{{{power}}}", f"10^{power}"], Fraction(10) ** power
    yield [f"{a} \\times 10^{{{power}}}", f"{a}\\cdot10^{power}", f"{a}e{power}"], a * Fraction(10) ** power


def others(r):
    """(spellings of one expression that is no plain number, a different expression)."""
    n, m, a, b = r.choice(SURDS), r.choice(SURDS), r.randint(2, 9), r.randint(2, 12)
    yield [f"\\sqrt{{{n}}}", f"\\sqrt {n}" if n < 10 else f"{{\\sqrt{{{n}}}}}"], f"\\sqrt{{{n + 1}}}"
    yield [f"{a}\\sqrt{{{n}}}", f"{a} \\sqrt{{{n}}}", f"\\sqrt{{{n}}} \\cdot {a}"], f"{a + 1}\\sqrt{{{n}}}"
    yield [f"{a}\\pi", f"{a} \\pi", f"\\pi \\cdot {a}"], f"{a + 1}\\pi"
    yield [f"\\frac{{\\sqrt{{{n}}}}}{{{a}}}", f"\\frac{{1}}{{{a}}}\\sqrt{{{n}}}"], f"\\frac{{\\sqrt{{{n}}}}}{{{a + 1}}}"
    yield [f"{b} + {a}\\sqrt{{{n}}}", f"{a}\\sqrt{{{n}}}+{b}"], f"{b} - {a}\\sqrt{{{n}}}"
    yield [f"x^2 + {a}x + {b}", f"{b}+{a}x+x^2"], f"x^2 + {a}x - {b}"
    yield [f"(x - {a})(x + {b})", f"(x+{b})(x-{a})"], f"(x + {a})(x + {b})"
    yield [f"({a}, {b})", f"\\left( {a}, {b} \\right)", f"({a},{b})"], f"({b}, {a + 20})"
    yield [f"[{a}, {a + b})", f"\\left[{a},\\,{a + b}\\right)"], f"({a}, {a + b})"
    yield [f"(-\\infty, {a})", f"\\left(-\\infty,{a}\\right)"], f"(-\\infty, {a + 1})"
    yield [f"{a}^{{{b}}}", f"{a}^{{{b}}}"], f"{a}^{{{b + 1}}}"
    yield [f"{a}i + {b}", f"{b} + {a}i"], f"{b} - {a}i"
    yield [f"{b}x", f"{b} x"], f"{b + 1}x"
    yield [f"\\frac{{x}}{{{a}}}", f"\\frac x{a}"], f"\\frac{{x}}{{{a + 1}}}"
    yield [f"\\frac{{{a}\\pi}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}\\pi"], f"\\frac{{{a + 1}\\pi}}{{{b}}}"
    yield [f"\\log_{{{a}}} {n}", f"\\log_{a}{{{n}}}"], f"\\log_{{{a}}} {n + 1}"
    yield [f"{a}^{{\\frac{{1}}{{{m}}}}}", f"{a}^{{1/{m}}}"], f"{a}^{{\\frac{{1}}{{{m + 1}}}}}"


def golds(n):
    r = random.Random(n)
    return [one for _ in range(n) for one in numbers(r)], [one for _ in range(n) for one in others(r)]


@pytest.mark.parametrize("n", [100])
def test_no_number_is_read_as_another(n):
    plain_numbers, expressions = golds(n)
    wrong = [
        (spelling, normalise_number(spelling), value)
        for spellings, value in plain_numbers
        for spelling in spellings
        if (read := normalise_number(spelling)) is None or Fraction(read) != value
    ]
    read = [
        (s, normalise_number(s)) for spellings, other in expressions for s in (*spellings, other) if normalise_number(s)
    ]
    assert (wrong, read) == ([], [])


@pytest.mark.parametrize("n", [3])
def test_equal_expressions_are_equal_and_others_are_not(n):
    pytest.importorskip("math_verify")
    _, expressions = golds(n)
    apart = [(a, b) for spellings, _ in expressions for a, b in [spellings[:2]] if not equivalent(plain(a), plain(b))]
    alike = [(spellings[0], other) for spellings, other in expressions if equivalent(plain(spellings[0]), plain(other))]
    assert (apart, alike) == ([], [])
