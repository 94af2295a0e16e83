"""Answers wait until the data plane is as they tell, and do not overtake themselves."""

from ipaddress import ip_address

from plutino.daemon.ike_outbox import Outbox
from plutino.ike.numbers import KEEPALIVE
from plutino.ike.path import Datagram, Path, SocketAddress

HERE = SocketAddress(ip_address("192.0.2.1"), 500)


def datagram(payload: bytes, port: int = 500) -> Datagram:
    return Datagram(Path(HERE, SocketAddress(ip_address("192.0.2.2"), port)), payload)


def test_what_waits_comes_out_in_order() -> None:
    outbox = Outbox()
    outbox.hold([datagram(b"b"), datagram(b"a")])
    outbox.hold([datagram(b"c")])
    assert outbox.release(2) == [datagram(b"b"), datagram(b"a")]
    assert outbox.release(2) == [datagram(b"c")]
    assert not outbox


def test_with_nothing_waiting_all_goes_at_once() -> None:
    assert Outbox().free([datagram(b"a"), datagram(b"a")]) == [datagram(b"a"), datagram(b"a")]


def test_an_answer_that_is_asked_for_again_waits_on_and_goes_once() -> None:
    outbox = Outbox()
    outbox.hold([datagram(b"a")])
    assert outbox.free([datagram(b"a", port=4500), datagram(b"other")]) == [datagram(b"other")]
    assert outbox.release(len(outbox)) == [datagram(b"a", port=4500)]
    assert outbox.free([datagram(b"a")]) == [datagram(b"a")]


def test_a_request_goes_by_every_path_that_it_is_repeated_on() -> None:
    outbox = Outbox()
    ways = [datagram(b"a", port) for port in (500, 4500, 4501)]
    outbox.hold([*ways, datagram(b"other")])
    assert outbox.free(ways[1:]) == []
    assert outbox.release(1) == ways[1:]
    assert outbox.release(1) == [datagram(b"other")]


def test_no_keepalive_takes_the_place_of_another_peers() -> None:
    outbox = Outbox()
    each = [datagram(KEEPALIVE, port) for port in (4500, 4501, 4502)]
    outbox.hold([each[0], each[0], each[1]])
    assert outbox.free(each[2:]) == each[2:]
    outbox.hold(each[2:])
    assert outbox.release(len(outbox)) == each
