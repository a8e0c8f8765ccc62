"""Chat templates are programs by strangers: each is kept within its limits, and this process runs none."""

from __future__ import annotations

import random
import sys
from contextlib import suppress

import pytest
from breaking import templates

from localent.errors import LocalentError
from localent.tasks import rendering
from localent.tasks.template import check_names, render_chat

SOUND = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TURNS = [("user", "How many?")]


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty cache, on disk and in this process."""
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path / "cache"))
    rendering._remembered.cache_clear()
    yield tmp_path / "cache"
    rendering._remembered.cache_clear()


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ 9 ** (9 ** 9) }}", "computes for more than a second"),
        ("{% set a = 9 %}{{ a ** (a ** a) }}", "computes for more than a second"),
        (templates.LOOPS[0], "computes for more than a second"),
        ("{{ 'A' * 10 ** 9 * 20 }}", "more than 256 MB of memory"),
        ("{{ '%1000000000s' % 'x' }}", "more than 256 MB of memory"),
        ("{{ messages | tojson(indent=10 ** 9) }}", "more than 256 MB of memory"),
        (templates.LOOPS[1], "writes more than 1,048,576 bytes"),
        ("{{ 'é' * 700000 }}", "writes more than 1,048,576 bytes"),
        ("{{ '\\ud800' }}", "writes a lone surrogate, which is no character"),
        ("x" * 3_000_000, "longer than 1,048,576 characters"),
    ],
)
def test_a_limit_is_said_and_remembered(fresh, template, why, monkeypatch):
    for _ in range(2):
        with pytest.raises(LocalentError, match=rf"cannot be used \(it .*{why}\).*--chat-template-file"):
            render_chat(template + SOUND, TURNS, {})
        rendering._remembered.cache_clear()
        monkeypatch.setattr(rendering, "_asked", None)  # from here on, nothing may be run


def test_a_template_that_failed_leaves_the_next_one_its_turn(fresh):
    with pytest.raises(LocalentError):
        render_chat("{{ 9 ** (9 ** 9) }}", TURNS, {})
    assert render_chat(SOUND, TURNS, {}) == ([("<user>", True)], [("How many?", False), ("", True)])


def test_one_rendering_serves_all_problems_and_all_processes(fresh, monkeypatch):
    render_chat(SOUND, TURNS, {"eos_token": "</s>"})
    rendering._remembered.cache_clear()
    monkeypatch.setattr(rendering, "_asked", None)
    for text in ("1", "2", SOUND):
        assert render_chat(SOUND, [("user", text)], {"eos_token": "</s>"})[1][0] == (text, False)
    with pytest.raises(TypeError):
        render_chat(SOUND, TURNS, {"eos_token": "<eos>"})


def test_a_damaged_memory_is_made_again(fresh):
    render_chat(SOUND, TURNS, {})
    (entry,) = (fresh / "templates").iterdir()
    for damage in ("", "{}", "[1]", '{"text": 3}', '{"text": "a", "names": []}', '{"other": "a"}'):
        entry.write_text(damage)
        rendering._remembered.cache_clear()
        assert render_chat(SOUND, TURNS, {})[0][0] == ("<user>", True)


def test_what_no_cache_holds_is_rendered_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path / "file" / "cache"))
    rendering._remembered.cache_clear()
    assert render_chat(SOUND + "!", TURNS, {})


def test_variables_are_asked_for_in_the_child(fresh):
    check_names(SOUND + "{{ tools }}", ["tools"])
    with pytest.raises(LocalentError, match="has no variable 'docs'"):
        check_names(SOUND + "{{ tools }}", ["docs"])
    with pytest.raises(LocalentError, match=r"is broken \(line 1"):
        check_names("{% for", ["docs"])


def test_the_sandbox_reaches_nothing(fresh):
    for value in ("''.__class__.__mro__", "cycler.__init__.__globals__", "self.__init__.__globals__"):
        with pytest.raises(LocalentError):
            render_chat(f"{{{{ {value} }}}}{SOUND}", TURNS, {})


def test_every_hostile_template_ends(fresh):
    """The part of scripts/break on templates, in little."""
    draw = random.Random(0)
    for _ in range(25):
        template = templates.template(draw)
        with suppress(LocalentError):  # which is a sentence
            before, after = render_chat(template, TURNS, {})
            assert sum(len(text) for text, _ in (*before, *after)) <= (1 << 20) + 20


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited where /proc tells what there is")
def test_the_child_is_small(fresh):
    """It imports jinja2 and nothing of localent."""
    render_chat(SOUND, TURNS, {})
    (child,) = rendering._CHILD
    with open(f"/proc/{child.pid}/status") as file:
        kb = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    assert kb < 60_000
