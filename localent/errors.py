"""Errors for the person who meets them: one sentence that names the thing and the way out."""


class LocalentError(Exception):
    """Something failed that the user can act on. The command line prints it and exits with 1."""


class UsageError(LocalentError):
    """The request itself is wrong: an unknown name, a bad option, a broken input file. Exit code 2."""


class BrokenLogitsError(LocalentError):
    """A model's logits are no distribution, or none that can be compared."""

    def __init__(self, message: str, model: int = 0):
        """model: which of those that were read together."""
        super().__init__(message)
        self.model = model
