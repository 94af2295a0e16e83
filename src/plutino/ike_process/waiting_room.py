"""Datagrams of who has no IKE SA with us, until nothing waits of those who have."""

from collections import deque
from typing import Final

from plutino.ike_process.receiving import Came

MOST: Final = 1024
MOST_OCTETS: Final = 2 << 20
"""That wait: further ones are lost, as on any full queue, and come again if they are meant."""
MOST_REFUSED: Final = 64
"""Beyond which nobody enters who gets a refusal: a flood of these leaves room for peers."""


class WaitingRoom:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Came] = deque()
        self._octets = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, came: Came, most: int = MOST) -> bool:
        """Whether there was room."""
        size = len(came.payload)
        if len(self) >= most or self._octets + size > MOST_OCTETS:
            return False
        self._waiting.append(came)
        self._octets += size
        return True

    def next(self) -> Came | None:
        """Who has waited longest."""
        if not self._waiting:
            return None
        came = self._waiting.popleft()
        self._octets -= len(came.payload)
        return came
