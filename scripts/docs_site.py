"""A hook of mkdocs: sections of files outside docs/ as parts of its pages, so that nothing is written twice.

A paragraph of docs/ that is nothing but a link to a section, [Install](../README.md#install), or to a whole file,
[Changes](../CHANGELOG.md), becomes that text on the site. Links are made to fit; one to a file that is no page of the
site is its text alone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs"
INSERT = re.compile(r"^\[[^\]\n]+\]\(((?:\.\./)+[^)#\s]+\.md)(?:#([\w-]+))?\)$", re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.*)$")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with what it inserts, and links that hold on the site."""
    return fit_for_site(markdown, f"{DOCS}/{page.file.src_uri}")


def fit_for_site(markdown: str, source: str) -> str:
    """The text of the page `source`, a path from the root, as the site shows it."""
    inserted = INSERT.sub(lambda found: inserted_text(found[1], found[2], source), markdown)
    return _outside_fences(inserted, lambda text: relinked(text, source, source))


def inserted_text(link: str, anchor: str | None, source: str) -> str:
    """The section that a link from `source` names, or the whole file without its title, with links seen from there."""
    origin = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    text = (ROOT / origin).read_text("utf-8")
    return _outside_fences(section(text, anchor), lambda part: relinked(part, origin, source))


def section(text: str, anchor: str | None) -> str:
    """What stands under a heading, up to the next one of its level; under the title, up to the next heading.

    Without an anchor, all but the title. Raises ValueError where there is no such heading.
    """
    lines = list(_with_levels(text))
    starts = [i for i, (line, level) in enumerate(lines) if level and anchor in (None, slug(line))]
    if not starts:
        raise ValueError(f"No section '#{anchor}' to insert.")
    start, level = starts[0], lines[starts[0]][1]
    below = 6 if level == 1 else level
    ends = (i for i in range(start + 1, len(lines)) if anchor and 0 < lines[i][1] <= below)
    return "\n".join(line for line, _ in lines[start + 1 : next(ends, len(lines))]).strip("\n")


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lstrip("# ")).strip().lower())


def relinked(text: str, origin: str, source: str) -> str:
    """Links of a text that stands in `origin`, for the page `source`; to what is not on the site: their text."""

    def fit(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        if re.match(r"\w+:|#|/", target):
            return found[0]
        path, _, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        place = PAGES.get(place, place)
        if not place.startswith(f"{DOCS}/"):
            return words
        here = posixpath.relpath(place, posixpath.dirname(source))
        return f"{mark}[{words}]({here}{'#' + anchor if anchor else ''})"

    return LINK.sub(fit, text)


PAGES = {"README.md": f"{DOCS}/index.md", "CHANGELOG.md": f"{DOCS}/changes.md", "SECURITY.md": f"{DOCS}/privacy.md"}


def _with_levels(text: str) -> Iterator[tuple[str, int]]:
    """Each line with its level as a heading; 0: it is none, as in a fenced block."""
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else HEADING.match(line)
        yield line, len(heading[1]) if heading else 0


def _outside_fences(text: str, change: Any) -> str:
    """A text with everything but its fenced blocks changed."""
    return "".join(part if part.startswith("```") else change(part) for part in FENCE.split(text))
