"""Compare answer extraction with other libraries on real outputs: a folder of JSONL files, one output a line.

    .venv/bin/python scripts/grading.py FOLDER             a table for every file
    .venv/bin/python scripts/grading.py FOLDER --show 5    and some texts that are read differently
    .venv/bin/python scripts/grading.py --timing           how the time grows with the length of repeated texts

A line is an object: `text` is the output; `expected` is the answer that a reader sees in it (null: none) or, where
nobody read it, `answer` is the true answer; `options` (a list of texts, or {label: text}) or `labels` (a string or a
list) make it a choice. "read" is the share of texts with an expected answer in which that answer is found, "invented"
the share of texts without one in which any is found; with true answers, "correct" is the share that is graded right.

Beside ours: the flexible regexes of lm-evaluation-harness, in their own words; Math-Verify, where it is installed, also
in another environment (--math-verify PYTHON); the last capital letter, for choices.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from localent.records import Choice
from localent.tasks import CHOICE, NUMBER, extract, normalise_number, statements
from localent.tasks.kinds import EXPRESSION, TEXT, YES_NO, Kind

FLEXIBLE_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")  # lm-evaluation-harness, gsm8k.yaml: flexible-extract
STRICT_NUMBER = re.compile(r"(?:####|The answer is) (\-?[0-9\.\,]+)")
CHOICE_STATED = re.compile(r"answer is \(?([A-J])\)?")  # mmlu_pro's, its custom-extract
SECOND_STATED = re.compile(r"[aA]nswer:\s*([A-J])")
LAST_LETTER = re.compile(r"\b[A-J]\b(?!.*\b[A-J]\b)", re.DOTALL)
WORKER = """
import json, sys
from math_verify import parse, verify
for line in sys.stdin:
    text, wanted = json.loads(line)
    try:
        found = parse(text, parsing_timeout=None)
        gold = parse(f"${wanted}$", parsing_timeout=None)
        right = wanted is not None and bool(verify(gold, found, timeout_seconds=None))
    except Exception:  # of any kind: a text that the library cannot take counts as not read
        found, right = [], False
    print(json.dumps([bool(found), right]), flush=True)
"""
BLOCKS = (  # what texts are made of: every one is repeated, alone and after every opening
    *(
        "Answer: 1:2 ",
        "####1",
        "#### ",
        "The answer is ",
        "\\boxed{",
        "12, 13 or ",
        "Answer:\n",
        "A or B, ",
        "(A) ",
        "I ",
    ),
    *(
        "option B ",
        "so (B)\n",
        "The answer is 1. Wait, ",
        "$x ",
        "\\(",
        "two hundred ",
        "5 + ",
        "5 = ",
        "1,000,",
        "1.2.3 ",
    ),
    *(
        "is the answer ",
        "the answer to ",
        "I choose option B because ",
        "2x + 3 ",
        "\\frac{1}{",
        "5 apples and ",
        "5!",
        "-",
    ),
    *(
        "e.g. ",
        "5~",
        "</think>",
        "there is no answer ",
        "½",
        "a",
        "*",
        " ",
        "\n",
        "x = 5 ",
        "3 hours and ",
        "1. ",
        "{",
        "}",
    ),
    *(
        "$",
        "$$",
        "\\[",
        "\\text{",
        "\\left(",
        "**",
        "__",
        "`",
        "```\n",
        "(",
        "[",
        "B) red\n",
        "**B**\n",
        "- (B) ",
        "A. ",
        "\t",
    ),
    *(
        "it is not B but ",
        "not ",
        "if ",
        "one ",
        "and ",
        "a dozen ",
        "two thirds ",
        "1/2 ",
        "1 1/2 ",
        "10^3 ",
        "1e5 ",
        "3:30 ",
    ),
    *(
        "±5 ",
        "10-20 ",
        "1\u00a0000 ",
        "−5 ",
        "５ ",
        "€5 ",
        "USD 5 ",
        "5% ",
        "yes ",
        "no, ",
        "Yes. ",
        "true ",
        "π",
        "√2 ",
        "é",
    ),
    *(
        "。",
        "! ",
        "? ",
        "... ",
        "\\\\",
        "\\,",
        "&",
        "_5",
        "^2",
        "[1, 2) ",
        "option A. option B. ",
        "The wrong answer is B. ",
    ),
    *(
        "we cannot answer ",
        "I meant ",
        "which is ",
        "Tom has 5 and ",
        "5 h 3 ",
        "is B because ",
        "the option ",
        "red ",
        "x",
    ),
    *(
        "<think>",
        "<answer>1</answer>",
        "Step 1: ",
        "\u200b",
        "\r\n",
        "0",
        "9",
        ",",
        ".",
        ":",
        "=",
        "/",
        "+",
        "'",
        '"',
        "#",
        "~",
    ),
)
LIMIT_S = 0.05
OPTIONS = tuple(Choice(label, f"option {label}") for label in "ABCDEFGHIJ")
OPENINGS = ("", "The answer is ", "\\boxed{", "$", "So (B")


def patterns() -> list[tuple[str, str]]:
    """(opening, text to repeat) of every text whose time is measured."""
    pairs = [one + other for one, other in zip(BLOCKS, BLOCKS[1:] + BLOCKS[:1], strict=True)]
    return [(opening, block) for opening in OPENINGS for block in BLOCKS] + [("", pair) for pair in pairs]


@dataclass(frozen=True, slots=True)
class Text:
    """One output and what is known of its answer."""

    text: str
    choices: tuple[Choice, ...]
    wanted: str | None  # the answer that a reader sees, else the true one
    is_read: bool  # a reader has said so

    @property
    def numbers(self) -> bool:
        return not self.choices


Reader = Callable[[Text], str | None]


def load(path: Path) -> Iterator[Text]:
    """The lines of a file. Raises ValueError for one that is no output."""
    for i, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        row = json.loads(line)
        is_read = "expected" in row
        if "text" not in row or not (is_read or "answer" in row):
            raise ValueError(f"{path.name}, line {i}: expected 'text' and 'expected' or 'answer', got {sorted(row)}")
        wanted = row["expected"] if is_read else row["answer"]
        choices = tuple(_choices(row))
        wanted = wanted if wanted is None or choices else normalise_number(str(wanted))
        if wanted is not None or is_read:
            yield Text(row["text"], choices, None if wanted is None else str(wanted), is_read)


def _choices(row: dict[str, object]) -> Iterator[Choice]:
    options, labels = row.get("options") or row.get("texts"), row.get("labels") or "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if isinstance(options, dict):
        labels, options = list(options), list(options.values())
    if options is None:
        options = [""] * len(labels) if row.get("labels") else []  # type: ignore[arg-type]
    yield from (Choice(str(label), str(text)) for label, text in zip(labels, options, strict=False))  # type: ignore[call-overload]


def ours(text: Text) -> str | None:
    return extract(text.text, CHOICE if text.choices else NUMBER, text.choices).value


def flexible(text: Text) -> str | None:
    """The harness's regexes: numbers, the last match; choices, the first statement."""
    if text.choices:
        found = CHOICE_STATED.search(text.text) or SECOND_STATED.search(text.text)
        return found[1] if found else None
    numbers = FLEXIBLE_NUMBER.findall(text.text)
    return normalise_number("".join(numbers[-1]).strip(".,")) if numbers else None


def strict(text: Text) -> str | None:
    found = STRICT_NUMBER.search(text.text)
    return normalise_number(found[1].strip(".,")) if found else None


def last_letter(text: Text) -> str | None:
    found = LAST_LETTER.search(text.text)
    return found[0] if found else None


def by_math_verify(texts: Sequence[Text], python: str) -> list[tuple[bool, bool]] | None:
    """(something was found, it is the wanted answer) for each text; None where it is not installed."""
    check = subprocess.run([python, "-c", "import math_verify"], capture_output=True)
    if check.returncode:
        return None
    lines = "\n".join(json.dumps([text.text, text.wanted]) for text in texts)
    done = subprocess.run([python, "-c", WORKER], input=lines, capture_output=True, text=True, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def judged(texts: Sequence[Text], reader: Reader) -> list[tuple[bool, bool]]:
    """(something was found, it is the wanted answer) for each text."""
    found = [reader(text) for text in texts]
    return [
        (value is not None, value is not None and agrees(value, text)) for value, text in zip(found, texts, strict=True)
    ]


def agrees(value: str, text: Text) -> bool:
    if text.wanted is None:
        return False
    return (CHOICE if text.choices else NUMBER).agree(value, text.wanted)


def row_of(name: str, texts: Sequence[Text], judgements: Sequence[tuple[bool, bool]], seconds: float) -> str:
    with_answer = [right for text, (_, right) in zip(texts, judgements, strict=True) if text.wanted is not None]
    without = [found for text, (found, _) in zip(texts, judgements, strict=True) if text.wanted is None]
    read = f"{sum(with_answer) / len(with_answer):8.2%}" if with_answer else "       -"
    invented = f"{sum(without) / len(without):8.2%}" if without else "       -"
    return f"  {name:22}{read}  {invented}  {1000 * seconds / len(texts):8.2f}"


def compare(path: Path, python: str, show: int) -> None:
    texts = list(load(path))
    if not texts:
        print(f"{path.name}: no text with an answer of this kind")
        return
    choices = not texts[0].numbers
    n_none = sum(text.wanted is None for text in texts)
    share = "read" if texts[0].is_read else "correct"
    print(f"\n{path.name}: {len(texts)} texts, {n_none} of them without an answer")
    print(f"  {'':22}{share:>8}  {'invented':>8}  {'ms/text':>8}")
    readers: dict[str, Reader] = {"localent": ours, "lm-eval flexible": flexible}
    readers |= {"last capital letter": last_letter} if choices else {"lm-eval strict": strict}
    for name, reader in readers.items():
        began = time.process_time()
        found = judged(texts, reader)
        print(row_of(name, texts, found, time.process_time() - began))
    began = time.perf_counter()
    verified = None if choices else by_math_verify(texts, python)
    if verified:
        print(row_of("Math-Verify", texts, verified, time.perf_counter() - began))
    elif not choices:
        print("  Math-Verify            not installed: name an environment that has it with --math-verify PYTHON")
    for text in differing(texts, show):
        print(f"  {ours(text)!r} ours, {flexible(text)!r} flexible, {text.wanted!r} wanted: {text.text[-200:]!r}")


def differing(texts: Sequence[Text], n: int) -> list[Text]:
    differ = [text for text in texts if not (agrees(ours(text) or "", text) if ours(text) else text.wanted is None)]
    return random.Random(0).sample(differ, min(n, len(differ)))


def timing(n: int = 16_000) -> None:
    """CPU time for n characters, and its ratio to that for a quarter of them (4: linear): the slowest of each kind."""
    for kind, choices in ((NUMBER, ()), (CHOICE, OPTIONS), (EXPRESSION, ()), (TEXT, ()), (YES_NO, ())):
        rows = []
        for opening, block in patterns():
            quarter, whole = (_seconds((opening + block * size)[:size], kind, choices) for size in (n // 4, n))
            rows.append((whole, whole / max(quarter, 1e-9), opening, block))
        over = sum(whole > LIMIT_S for whole, *_ in rows)
        print(f"\n{kind.name}: {len(rows)} patterns, {over} over {1000 * LIMIT_S:.0f} ms of CPU time")
        print(f"{'ms':>8}  {'ratio':>6}  text repeated to {n} characters")
        for whole, ratio, opening, block in sorted(rows, reverse=True)[:20]:
            print(f"{1000 * whole:8.1f}  {ratio:6.1f}  {opening!r} {block!r}")


def _seconds(text: str, kind: Kind, choices: tuple[Choice, ...]) -> float:
    """CPU time of reading a text; the best of three where it is near the limit."""
    times = []
    for _ in range(3):
        statements.markers.cache_clear()  # of the text that was read last
        began = time.process_time()
        extract(text, kind, choices)
        times.append(time.process_time() - began)
        if times[-1] < LIMIT_S / 4:
            break
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="holds *.jsonl")
    parser.add_argument("--math-verify", metavar="PYTHON", default=sys.executable, help="an environment that has it")
    parser.add_argument(
        "--show", type=int, default=0, metavar="N", help="texts that are read differently, for each file"
    )
    parser.add_argument("--timing", action="store_true", help="how the time grows with the length")
    chosen = parser.parse_args()
    if chosen.timing:
        timing()
    elif chosen.folder is None or not (files := sorted(chosen.folder.glob("*.jsonl"))):
        parser.error(f"no *.jsonl in {chosen.folder}: name a folder of outputs, one JSON object a line")
    else:
        for path in files:
            compare(path, chosen.math_verify, chosen.show)


if __name__ == "__main__":
    main()
