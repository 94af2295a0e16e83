"""`plutino doctor FILE` names what keeps packets from a tunnel that is up, and changes nothing."""

import re
from collections.abc import Iterator

import pytest

from plutino.lab.hosts import Host
from tests.support.ike_lab import use_ike
from tests.support.lab import running_pair
from tests.support.multihomed_lab import run

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def serving() -> Iterator[Host]:
    """Paris with its tunnel, which has a route to 10.2.0.0/16, and no daemon."""
    with running_pair(start=False) as pair:
        file = pair.paris.file
        assert "10.2.0.0/16" in file.read_text()
        done = pair.paris.plutino("apply", file)
        assert done.returncode == 0, done.stderr
        yield pair.paris


def in_the_way(host: Host) -> list[str]:
    return told(host, "in the way of")


def told(host: Host, start: str) -> list[str]:
    done = host.plutino("doctor", host.file)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(start)]


def test_nothing_is_in_the_way_of_a_tunnel_that_serves(serving: Host) -> None:
    assert in_the_way(serving) == []


@pytest.mark.parametrize(
    ("make", "undo", "words"),
    [
        (
            ("route add 10.2.0.0/16 dev wire table 77", "rule add pref 50 to 10.2.0.0/16 table 77"),
            ("rule delete pref 50", "route flush table 77"),
            "10.2.0.0/16 of tunnel 'berlin': packets to 10.2.0.1 leave by wire and not by ",
        ),
        (
            ("rule add pref 50 to 10.2.0.0/16 blackhole",),
            ("rule delete pref 50",),
            "packets to 10.2.0.1 find no way and not by ",
        ),
        *(
            ((f"route add {kind} {part}",), (f"route delete {kind} {part}",), None)
            # One that its owner has closed off takes no other way.
            for kind in ("unreachable", "blackhole", "prohibit")
            for part in ("10.2.7.7/32", "10.2.0.0/24")
        ),
        (
            ("xfrm policy add src 10.0.0.0/8 dst 10.2.0.0/16 dir out action block priority 5",),
            ("xfrm policy delete src 10.0.0.0/8 dst 10.2.0.0/16 dir out",),
            "an XFRM policy of somebody else drops packets: dir out 10.0.0.0/8 -> 10.2.0.0/16",
        ),
        (
            ("xfrm policy add src 10.0.0.0/8 dst 172.16.0.0/12 dir out action block priority 5",),
            ("xfrm policy delete src 10.0.0.0/8 dst 172.16.0.0/12 dir out",),
            None,  # what is for no tunnel's networks is none of ours
        ),
        (
            ("xfrm policy add src 0.0.0.0/0 dst 10.2.0.0/16 dir out action block mark 7",),
            ("xfrm policy delete src 0.0.0.0/0 dst 10.2.0.0/16 dir out mark 7",),
            None,  # nor what somebody marks for it
        ),
    ],
)
def test_what_others_have_put_before_a_tunnel_is_named(
    serving: Host, make: tuple[str, ...], undo: tuple[str, ...], words: str | None
) -> None:
    run(serving.namespace, *(f"ip {one}" for one in make))
    try:
        found = in_the_way(serving)
    finally:
        run(serving.namespace, *(f"ip {one}" for one in undo))
    if words is None:
        assert found == []
    else:
        (line,) = found
        assert words in line
    assert in_the_way(serving) == []


def test_a_longer_route_may_be_meant_so_and_is_a_note(serving: Host) -> None:
    run(serving.namespace, "ip route add 10.2.7.0/24 dev wire")
    try:
        assert in_the_way(serving) == []
        words = "note: 10.2.7.0/24, a part of 10.2.0.0/16 of tunnel 'berlin', has a longer route"
        (line,) = told(serving, words)
        assert "leaves by wire" in line
    finally:
        run(serving.namespace, "ip route delete 10.2.7.0/24")


def test_what_is_missing_of_ours_is_nobody_elses(serving: Host) -> None:
    run(serving.namespace, "ip link set ipsec1 down")
    try:
        assert in_the_way(serving) == []
    finally:
        assert serving.plutino("apply", serving.file).returncode == 0
    assert in_the_way(serving) == []


def test_a_network_of_our_own_within_a_tunnels_is_none_of_it(serving: Host) -> None:
    run(serving.namespace, "ip address add 10.2.0.9/24 dev wire")
    try:
        assert in_the_way(serving) == []
    finally:
        run(serving.namespace, "ip address delete 10.2.0.9/24 dev wire")


def test_an_apply_alone_says_that_ike_wants_the_daemon() -> None:
    with running_pair(start=False) as pair:
        use_ike(pair.paris, "berlin")
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 3
        assert (
            "keys of tunnel 'berlin' are made by IKE, which only the daemon speaks" in done.stderr
        )
        shown = pair.paris.plutino("status").stdout
        assert "IKE down: no daemon runs" in shown


def test_an_uplink_without_its_device_is_told_before_it_is_used() -> None:
    with running_pair(start=False) as pair:
        file = pair.paris.file
        text = re.sub(r"^local *=.*$", 'uplinks = ["isp"]', file.read_text(), flags=re.M)
        table = '[uplinks.isp]\ninterface = "eth77"\n'
        first = re.search(r"^\[", text, re.M)
        assert first is not None
        file.write_text(text[: first.start()] + table + text[first.start() :])
        done = pair.paris.plutino("plan", file)
        assert "uplinks.isp.interface: there is no device eth77 (yet)" in done.stderr
