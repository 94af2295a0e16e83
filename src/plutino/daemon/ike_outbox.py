"""What IKE has to say and may not yet, since the data plane is not as it tells."""

from collections.abc import Iterable

from plutino.ike.numbers import KEEPALIVE
from plutino.ike.path import Datagram


class Outbox:
    """Datagrams that wait for an installation, in order.

    A peer that asks again meanwhile gets the same answer again; this one must not overtake itself:
    the peer would send by a CHILD_SA that we do not receive by.
    """

    def __init__(self) -> None:
        self._held: dict[bytes | Datagram, tuple[Datagram, ...]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, datagrams: Iterable[Datagram]) -> None:
        """These wait, those of the same octets by the newest paths.

        An answer goes by one; a request that is repeated may go by several (RFC 4555, 3.5).
        """
        newest: dict[bytes | Datagram, dict[Datagram, None]] = {}
        for one in datagrams:
            newest.setdefault(_message(one), {})[one] = None
        self._held.update((message, tuple(several)) for message, several in newest.items())

    def free(self, datagrams: Iterable[Datagram]) -> list[Datagram]:
        """Those that may go at once; such as wait already go on waiting, by the newest paths."""
        if not self._held:
            return list(datagrams)
        several = list(datagrams)
        self.hold(one for one in several if _message(one) in self._held)
        return [one for one in several if _message(one) not in self._held]

    def release(self, number: int) -> list[Datagram]:
        """Those of the first so many messages, which wait no more."""
        first = list(self._held)[:number]
        return [one for message in first for one in self._held.pop(message)]


def _message(one: Datagram) -> bytes | Datagram:
    """What tells it from others: all that keep mappings of NATs alive have the same octets."""
    return one if one.payload == KEEPALIVE else one.payload
