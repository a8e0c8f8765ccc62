"""The content hash that makes a problem the same problem in any file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from localent.records import Choice


def problem_id(question: str, answer: str, choices: Sequence[Choice] = ()) -> str:
    """16 hex digits of the sha256 over question, answer and options. Raises UnicodeEncodeError for a surrogate."""
    content = json.dumps([question, answer, [[c.label, c.text] for c in choices]], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
