"""IKE_SA_INIT and IKE_AUTH between two endpoints of ours (RFC 7296, 1.2)."""

from tests.support.ike_network import IkePair


def test_four_messages_make_an_ike_sa_and_a_child() -> None:
    pair = IkePair(seed=7)
    pair.establish()
    print("\n".join(pair.trace))
    assert len(pair.trace) == 4
