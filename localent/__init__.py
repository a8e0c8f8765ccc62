"""Watch the uncertainty of a language model while it reasons."""

__version__ = "0.1.0"
