"""How many answers may be given to strangers, so that nobody can make us send much."""

from dataclasses import dataclass


@dataclass(slots=True)
class Allowance:
    """A token bucket that a second fills; ``now`` is in seconds."""

    per_second: float
    allowed: float
    counted_at: float = float("-inf")

    @classmethod
    def of(cls, per_second: float) -> "Allowance":
        """So many in a second, and as many at once after a second of silence."""
        return cls(per_second, per_second)

    def take(self, now: float) -> bool:
        """Whether one more may be given, which then is."""
        if not self.is_left(now):
            return False
        self.allowed -= 1
        return True

    def is_left(self, now: float) -> bool:
        """Whether one more may be given."""
        gained = (now - self.counted_at) * self.per_second
        self.allowed = min(self.per_second, self.allowed + gained)
        self.counted_at = now
        return self.allowed >= 1
