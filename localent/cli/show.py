"""Print summaries and tables."""

from __future__ import annotations
