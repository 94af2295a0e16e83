"""What IKE has to say and may not yet, since the data plane is not as it tells."""

from collections.abc import Iterable

from plutino.ike.path import Datagram


class Outbox:
    """Datagrams that wait for an installation, in order.

    A peer that asks again meanwhile gets the same answer again; this one must not overtake itself:
    the peer would send by a CHILD_SA that we do not receive by.
    """

    def __init__(self) -> None:
        self._held: dict[bytes, Datagram] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, datagrams: Iterable[Datagram]) -> None:
        """These wait, each once, by the newest path."""
        self._held.update((one.payload, one) for one in datagrams)

    def free(self, datagrams: Iterable[Datagram]) -> list[Datagram]:
        """Those that may go at once; such as wait already go on waiting, by the newest path."""
        if not self._held:
            return list(datagrams)
        several = list(datagrams)
        self.hold(one for one in several if one.payload in self._held)
        return [one for one in several if one.payload not in self._held]

    def release(self, number: int) -> list[Datagram]:
        """The first ones, which wait no more."""
        first = list(self._held)[:number]
        return [self._held.pop(payload) for payload in first]
