"""Of the campaign on terminals (scripts/break terminals): what it calls a fault, and a few of its commands."""

from __future__ import annotations

import random
import signal
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("a pseudo-terminal is needed", allow_module_level=True)

from breaking import terminals

FOREIGN = ("\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\x08", "\x1bc", "\x7f", "\x1b[?1049h", "\x1b[31m")
OURS = "\x1b[48;5;17;38;5;16m1\x1b[0m\r\x1b[2K 4 %|\x1b[?25l\tdone\n"


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_character_from_outside_is_a_fault_and_our_own_are_none(foreign):
    assert terminals.misdeeds(OURS, 0) == []
    ((kind, more),) = terminals.misdeeds(f"{OURS}name{foreign}", 0)
    assert kind == "control characters"
    assert repr(foreign)[1:-1] in more


def test_a_traceback_and_a_hang_are_faults():
    assert [kind for kind, _ in terminals.misdeeds("Traceback (most recent call last):", 1)] == ["traceback"]
    assert [kind for kind, _ in terminals.misdeeds("", -signal.SIGKILL)] == ["hang"]


def test_hostile_names_and_texts_reach_no_terminal(tmp_path, monkeypatch):
    chosen = [words for words in terminals.COMMANDS if words[0] in ("run", "show", "tasks")]
    monkeypatch.setattr(terminals, "COMMANDS", chosen)
    done = terminals.attack(len(chosen), random.Random(0), tmp_path, 120)
    assert done.n_cases == len(chosen)
    assert done.faults == []
    assert done.codes[0] >= 4
