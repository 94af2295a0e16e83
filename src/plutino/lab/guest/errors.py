"""Why there is no guest."""

from plutino.model.errors import PlutinoError


class GuestError(PlutinoError):
    """A kernel cannot be prepared or booted; ``hint`` says what would help."""

    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.hint = hint


class TimeLimitError(GuestError):
    """The command did not end in time; its guest was killed."""
