"""CHILD_SAs are asked for from other threads while the IKE process tells of others."""

from plutino.config.load import load_text
from plutino.daemon.ike_children import IkeChildren
from plutino.model.child_sa import ChildSa
from tests.support.gateways import IKE_TEXT


def test_status_counts_peers_while_another_comes_up() -> None:
    gateway = load_text(IKE_TEXT, "gateway.toml")
    children = IkeChildren(gateway, print)

    class Looked(tuple[ChildSa, ...]):
        """Lets the other thread come between."""

        def __bool__(self) -> bool:
            children.take({"paris": ()})
            return True

    children._by_peer["berlin"] = Looked()
    assert children.peers() == {"berlin"}
    assert children.in_force(gateway) == {}
