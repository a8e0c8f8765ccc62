"""The child process that runs chat templates: they come with model files and are programs.

Started by `rendering` as a script of its own, with jinja2 and the standard library alone. A request is a line of JSON,
and so is its answer. A template that computes too long ends the process; one that wants too much memory is refused.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 1.0  # of computing: a real template takes milliseconds
MEMORY = 256 << 20  # bytes more than the process takes at its start
OUTPUT = 1 << 20  # bytes
TODAY = datetime(2024, 7, 26)  # templates that print the date must not change a run from one day to the next
TOO_LONG = f"it writes more than {OUTPUT:,} bytes"
LONGEST_REASON = 500  # characters of what a template says when it refuses
TOO_LARGE = f"it takes more than {MEMORY >> 20} MB of memory"


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request: {"text": ...}, {"names": [...]}, or {"refused": why}."""
    try:
        if request["what"] == "names":
            return {"names": _names(request["template"])}
        return {"text": _render(request["template"], request["variables"])}
    except TemplateSyntaxError as error:
        return {"broken": f"line {error.lineno}: {error.message}"}
    except TemplateError as error:
        return {"refused": str(error)[:LONGEST_REASON]}
    except _TooLongError:
        return {"stopped": TOO_LONG}
    except MemoryError:
        return {"stopped": TOO_LARGE}
    except Exception as error:  # a template is a program: it may fail in any way, and says why in its own words
        return {"refused": f"{type(error).__name__}: {error}"[:LONGEST_REASON]}


class _TooLongError(Exception):
    """The template writes too much."""


def _render(template: str, variables: Mapping[str, Any]) -> str:
    found, length = [], 0
    for piece in _compiled(template).generate(dict(variables)):
        length += len(piece.encode("utf-8", "surrogatepass"))
        if length > OUTPUT:
            raise _TooLongError
        found.append(piece)
    return "".join(found)


def _names(template: str) -> list[str]:
    """The variables that a template takes from outside."""
    environment = _environment()
    return sorted(meta.find_undeclared_variables(environment.parse(template)) - set(environment.globals))


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise, "strftime_now": TODAY.strftime}
    return environment


class _Generation(Extension):
    """{% generation %} ... {% endgeneration %}, by which transformers finds the model's own text: the body as it is."""

    tags = {"generation"}  # noqa: RUF012  as its base declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _tojson(value: Any, indent: int | None = None, **options: Any) -> str:
    """JSON as it is: jinja's own filter escapes <, > and & for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _limit_memory() -> None:
    """Limit the address space to what the process has now and MEMORY more."""
    with suppress(ImportError, OSError, ValueError):  # not everywhere: then time alone is limited
        import resource

        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


def _limit_time(seconds: float) -> None:
    """End the process after so much computing; 0: never. No exception could leave a power of two long integers."""
    if hasattr(signal, "setitimer"):  # not on Windows: there the parent's clock alone
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    _limit_memory()
    for line in requests:
        _limit_time(SECONDS)
        found = json.dumps(answer(json.loads(line)))
        _limit_time(0)
        answers.write(found.encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
