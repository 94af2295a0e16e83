"""A NAT before a of a pair of IKE cores, which begins."""

from collections.abc import Iterable
from ipaddress import ip_address

from plutino.ike.path import Datagram, Path, SocketAddress
from tests.support.ike_network import A, IkePair, peer

OUTSIDE, OTHER = ip_address("203.0.113.9"), ip_address("203.0.113.10")


class Nat:
    """What translates; ``at`` is the mapping of the moment, and nothing comes in by another."""

    def __init__(self, pair: IkePair) -> None:
        self.at = SocketAddress(OUTSIDE, 1024)
        self.is_seen = lambda: bool(pair.current("a")) and bool(pair.current("b"))
        pair.hook = self.translate
        pair.addresses[OUTSIDE] = pair.addresses[OTHER] = "nobody"

    def translate(self, name: str, datagram: Datagram) -> Iterable[Datagram]:
        path = datagram.path
        if name == "a":
            path = Path(self.at, path.remote)
        elif path.remote == self.at:
            inside = 4500 if path.local.port == 4500 else 500
            path = Path(path.local, SocketAddress(A, inside))
        else:
            return ()
        return (Datagram(path, datagram.payload),)


def behind_a_nat(mobike: bool, liveness_after: float | None = 30.0) -> tuple[IkePair, Nat]:
    """Both up."""
    pair = IkePair(
        a=peer("a", mobike=mobike, liveness_after=liveness_after),
        b=peer("b", mobike=mobike, remotes=()),
    )
    nat = Nat(pair)
    pair.start()
    assert pair.run(10, nat.is_seen), pair.trace
    return pair, nat
