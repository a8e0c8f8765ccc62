"""Tokens in, logits rows out. `llama/` is the only room that knows llama.cpp; `scripted.py` is its fake."""

from localent.engine.lanes import Coroutine, Engine, Prompt, Rewind, Vocab, drive

__all__ = ["Coroutine", "Engine", "Prompt", "Rewind", "Vocab", "drive"]
