"""When a pass and a look at the sequence numbers are due: seldom where they take long."""

import time
from typing import Final

CHECK_INTERVAL: Final = 10.0
"""Seconds between passes when nothing tells of a change."""
_SETTLE: Final = 0.02
"""Seconds to wait for more events of the same change."""
_CALM: Final = 0.5
"""Seconds to wait instead when events came that often and there was nothing to do."""
_PATIENCE: Final = 10
"""Passes in a row without a step; others may change much that is not ours."""
SAVE_INTERVAL: Final = 1.0
"""Seconds between looks at the sequence numbers."""
_LONGEST_SAVE_INTERVAL: Final = 5.0
"""Half a reservation lasts longer (``desired/sequences``)."""
_CALM_BEFORE_SAVE: Final = 0.2
"""Seconds without a new CHILD_SA before such a look: those of new ones are on disk already."""
_PAUSES: Final = 10
"""Times as long as a pass takes, until the next one."""
_SAVE_PAUSES: Final = 20
"""Times as long as such a look takes, until the next one."""
_LONGEST_QUIET: Final = 5.0
"""Seconds without a new CHILD_SA before a pass: as long as the last one took, and at most these."""
_LONGEST_WAIT: Final = 20
"""Times as long as a pass takes that such a pause is waited for."""
_SPACES: Final = 4
"""Times as long as a pass takes, until the next one that only new CHILD_SAs have called for."""


class Pace:
    """Is told what has been done; times are those of the monotonic clock."""

    def __init__(self) -> None:
        self._installed_at = self._ended_at = self._passed_at = float("-inf")
        self._pass_took = 0.0
        self._idle_passes = 0
        self.save_took = 0.0

    @property
    def check_interval(self) -> float:
        """Seconds until a pass that nothing has called for."""
        return max(CHECK_INTERVAL, _PAUSES * self._pass_took)

    @property
    def settling_time(self) -> float:
        """Seconds from an event to the pass that it calls for."""
        return _CALM if self._idle_passes > _PATIENCE else _SETTLE

    @property
    def save_interval(self) -> float:
        """Seconds until the next look at the sequence numbers."""
        return max(SAVE_INTERVAL, min(_SAVE_PAUSES * self.save_took, _LONGEST_SAVE_INTERVAL))

    def save_rest(self, looked_at: float) -> float:
        """Seconds until the next look at the sequence numbers, after the last one at a time.

        While handshakes follow each other it would hold them up, and read every new SA.
        """
        calm = min(self._installed_at + _CALM_BEFORE_SAVE, looked_at + _LONGEST_SAVE_INTERVAL)
        return max(looked_at + self.save_interval, calm) - time.monotonic()

    def was_calm(self) -> None:
        """Nothing has called for a pass, for as long as a pass is waited for."""
        self._idle_passes = 0

    def passed(self, began: float, *, is_idle: bool = False) -> None:
        """A pass is over; ``is_idle``: there was nothing to do."""
        self._idle_passes = self._idle_passes + 1 if is_idle else 0
        self._passed_at = time.monotonic()
        self._pass_took = self._passed_at - began

    def installed(self, *, has_ended: bool = False) -> None:
        """CHILD_SAs have been installed without a pass; ``has_ended``: a tunnel sends no more.

        What follows from that, such as that its interface rests, is for a pass.
        """
        self._installed_at = time.monotonic()
        if has_ended:
            self._ended_at = self._installed_at

    def rest(self, asked: float) -> float:
        """Seconds that a pass which was called for at a time should still wait.

        While handshakes follow each other a long one would hold them up.
        """
        if self._installed_at <= self._passed_at:
            return 0.0
        spaced = self._passed_at + _SPACES * self._pass_took
        calm = self._installed_at + min(self._pass_took, _LONGEST_QUIET)
        latest = asked + _LONGEST_WAIT * self._pass_took
        due = spaced if self._ended_at > self._passed_at else min(max(calm, spaced), latest)
        return due - time.monotonic()
