"""Coroutines that work in one lane: generate a trace, probe it, roll it out, read a given text."""
