"""Hostile chat templates: loops without end, huge numbers and texts, deep recursion, attempts to leave the sandbox."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from breaking.runner import Case

LOOPS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in 'xyz' %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% set ns = namespace(x='ab') %}{% for a in range(99999) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[1]) %}{% for a in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}",
)
VALUES = (
    "9 ** (9 ** 9)", "a ** (a ** a)", "10 ** 10 ** 9", "(2 ** 99999) ** 99999", "1 << 10 ** 10",
    "'A' * 10 ** 9 * 20", "'A' * 10 ** 8", "[0] * 10 ** 9", "'%1000000000s' % 'x'", "'%.999999999f' % 1",
    "'{:1000000000}'.format('x')", "('a' * 10 ** 6).replace('a', 'b' * 10 ** 6)", "'a' | center(10 ** 10)",
    "messages | tojson(indent=10 ** 9)", "range(10 ** 9) | list", "range(99999) | join('x' * 99999)",
    "'x' | indent(10 ** 10)", "('a ' * 10 ** 5) | wordwrap(1)", "('a' * 10 ** 7) | urlize",
    "messages | pprint", "lipsum(n=10 ** 7)", "dict.__base__.__subclasses__()", "''.__class__.__mro__",
    "cycler.__init__.__globals__", "self.__init__.__globals__.__builtins__", "messages.append(messages)",
    "raise_exception('x' * 10 ** 8)", "strftime_now('%Y' * 10 ** 7)", "'\\x1b[2J'", "undefined.x.y", "1 / 0",
    "(('(' * 10 ** 4) ~ 'a') | upper", "'a' | batch(0) | list", "'aaa'.split('')", "messages[10 ** 30]",
    "'é' * 700000", "'\\ud800'", "namespace(a=namespace) | string",
)  # fmt: skip
WHOLE = (
    "{" * 10_000,
    "{{ " + "(" * 2_000 + "1" + ")" * 2_000 + " }}",
    "{{ " + "[" * 5_000 + "]" * 5_000 + " }}",
    "{% if 1 %}" * 2_000 + "{% endif %}" * 2_000,
    "{{ " + " + ".join(["1"] * 20_000) + " }}",
    "{% include 'x' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends 'x' %}",
    "{% for m in messages %}{{ m.content }}",
    "{{ messages[0].content }}" * 5_000,
    "x" * 3_000_000,
    "",
)
FRAME = "{% set a = 9 %}{% for m in messages %}{{ m.content }}{% endfor %}"


def template(draw: random.Random) -> str:
    """One template that wants too much, alone or around a sound one."""
    kind = draw.randrange(4)
    if kind == 0:
        return draw.choice(WHOLE)
    if kind == 1:
        return FRAME + draw.choice(LOOPS)
    value = draw.choice(VALUES)
    if kind == 2:
        return f"{FRAME}{{{{ {value} }}}}"
    return f"{{% set b = {value} %}}{FRAME}{{% if b %}}{draw.choice(['', *LOOPS])}{{% endif %}}"


def cases(n: int, draw: random.Random, home: Path) -> Iterator[Case]:
    """Templates given in place of the model's own."""
    for i in range(n):
        folder = home / f"case-{i}"
        folder.mkdir(parents=True)
        path = folder / "template.jinja"
        path.write_text(template(draw), "utf-8", errors="surrogatepass")
        prompt = ("prompt", "abacus-sft", "demo-number", "-n", "1", "--text", "--chat-template-file", str(path))
        yield Case(f"template-{i}", folder, (prompt,))
