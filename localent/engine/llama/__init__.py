"""llama.cpp as a backend: the only package that knows it.

Every guard here prevents a C assertion that would end the whole process, or a silently wrong answer.
"""

from pathlib import Path


def reads(path: Path) -> bool:
    """True: GGUF is llama.cpp's own format, and for any other file it gives the reason."""
    return True
