"""Peers whose address the gateway file does not say: from anywhere, or where a name leads."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.traffic import MARKER, ping
from plutino.lab.wire import FrameKind, WireTap
from plutino.netlink.route_client import RouteClient
from tests.support.hosts_file import HostsFile
from tests.support.ike_lab import ike_pair, passes, until_it_passes
from tests.support.lab import Pair
from tests.support.multihomed_lab import run
from tests.support.until import until

ANY = 'start = "listen"\nlocal-id = "paris.example"\nremote-id = "berlin.example"'
NAME = "berlin.example"
OWN = f'local-id = "{NAME}"\nremote-id = "paris.example"\nretransmit-after = 0.2'
LISTEN = f'{OWN}\nstart = "listen"'
BEHIND = ip_address("10.2.0.1")
"""An address in Berlin's network."""
ELSEWHERE, THIRD = "192.0.2.77", "192.0.2.78"


def rewrite(host: Host, before: str, after: str) -> None:
    """Another text in its gateway file."""
    text = host.file.read_text()
    assert before in text
    host.file.write_text(text.replace(before, after))


def is_at(host: Host, remote: str) -> Callable[[], bool]:
    """Whether a daemon's first tunnel has its peer there."""
    return lambda: (report := host.status()) is not None and report.tunnels[0].remote == remote


def ike_is(host: Host, state: str) -> Callable[[], bool]:
    return lambda: (
        (report := host.status()) is not None
        and (ike := report.tunnels[0].ike) is not None
        and (report.daemon_pid is not None and ike.state == state)
    )


def says(host: Host, words: str) -> Callable[[], bool]:
    """What `status` says of problems and failures."""
    return lambda: words in host.plutino("status").stdout


def assert_it_rests(pair: Pair) -> None:
    """Paris does not know where Berlin is: nothing leaves, and routing daemons see it."""
    for destination in (BEHIND, ip_address(INNER[BERLIN][0])):
        assert ping(pair.paris.namespace, destination, count=1, timeout=0.2)[0] == 0
    assert "state DORMANT" in run(pair.paris.namespace, "ip link show ipsec1")
    assert pair.paris.plutino("plan", pair.paris.file).stdout == "nothing to do\n"
    pair.assert_nothing_in_clear()


def unanswered(pair: Pair) -> bool:
    return not ping(pair.paris.namespace, BEHIND, count=1, timeout=0.2)[0]


def until_up_and_passing(pair: Pair) -> None:
    for host in (pair.berlin, pair.paris):
        until(ike_is(host, "up"), f"the IKE SA of {host.name} is up")
    until_it_passes(pair)


def link_local(host: Host) -> str:
    (line,) = run(host.namespace, "ip -6 -o address show dev ipsec1 scope link").splitlines()
    return line.split()[3]


def move_berlin(pair: Pair, before: str = "192.0.2.2", after: str = ELSEWHERE) -> None:
    """Its gateway ends, of which Paris hears if it can, and has another address from then on."""
    assert pair.berlin.daemon is not None
    pair.berlin.plutino("down")
    pair.berlin.daemon.wait(20)
    run(pair.berlin.namespace, f"ip address del {before}/24 dev wire")
    run(pair.berlin.namespace, f"ip address add {after}/24 dev wire")
    rewrite(pair.berlin, f'local = "{before}"', f'local = "{after}"')


def test_a_peer_comes_from_one_address_and_then_from_others(plane: str) -> None:
    with ike_pair(plane, paris=ANY, berlin=OWN, start=False) as pair:
        rewrite(pair.paris, 'remote = "192.0.2.2"', 'remote = "any"')
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 3  # the daemon is missing
        assert_it_rests(pair)
        pair.paris.start_daemon()
        until(is_at(pair.paris, "any"), "status says that it may be anywhere")
        assert_it_rests(pair)
        address = link_local(pair.paris)
        pair.berlin.start_daemon()
        until_up_and_passing(pair)
        assert is_at(pair.paris, "192.0.2.2")()
        move_berlin(pair)
        until(is_at(pair.paris, "any"), "it is gone")
        assert_it_rests(pair)
        pair.berlin.start_daemon()
        until_up_and_passing(pair)
        assert is_at(pair.paris, ELSEWHERE)()
        assert link_local(pair.paris) == address
        assert pair.paris.plutino("plan", pair.paris.file).stdout == "nothing to do\n"
        run(pair.berlin.namespace, "ip link set wire down")  # Paris hears nothing of its end
        move_berlin(pair, ELSEWHERE, THIRD)
        run(pair.berlin.namespace, "ip link set wire up")
        assert is_at(pair.paris, ELSEWHERE)()
        pair.berlin.start_daemon()
        until(is_at(pair.paris, THIRD), "INITIAL_CONTACT ends the old IKE SA")
        until_up_and_passing(pair)
        pair.assert_nothing_in_clear()


def test_two_peers_from_anywhere_are_told_apart_by_who_they_are(plane: str) -> None:
    """Each with a key and an interface of its own, though a route covers Rome itself."""
    with ike_pair(plane, paris=ANY, berlin=OWN, start=False) as pair, rome_beside(pair) as rome:
        rewrite(pair.paris, 'remote = "192.0.2.2"', 'remote = "any"')
        for host in (pair.paris, rome, pair.berlin):
            host.start_daemon()
        until_up_and_passing(pair)
        until(lambda: ping(pair.paris.namespace, ROME, count=1)[0] == 1, "Rome answers")
        report = pair.paris.status()
        assert report is not None
        found = {one.name: (one.interface, one.remote) for one in report.tunnels}
        assert found == {BERLIN: ("ipsec1", "192.0.2.2"), "rome": ("ipsec2", "198.51.100.3")}
        rewrite(rome, 'local-id = "rome.example"', f'local-id = "{NAME}"')
        assert rome.daemon is not None
        rome.daemon.send_signal(signal.SIGHUP)
        until(says(rome, "AUTHENTICATION_FAILED"), "with Rome's key it is not Berlin")
        assert passes(pair.paris)
        assert ping(pair.paris.namespace, ROME, count=1, timeout=0.2)[0] == 0
        pair.assert_nothing_in_clear()


ROME = ip_address("10.255.1.1")
_ROME_AT_PARIS = """
[tunnels.rome]
interface = "ipsec2"
local = "192.0.2.1"
remote = "any"
addresses = ["10.255.1.0/31"]
routes = ["198.51.100.3/32"]
[tunnels.rome.ike]
psk-file = "rome.psk"
start = "listen"
local-id = "paris.example"
remote-id = "rome.example"
"""
_PARIS_AT_ROME = """
data-plane = "{plane}"
[tunnels.paris]
interface = "ipsec1"
local = "198.51.100.3"
remote = "192.0.2.1"
addresses = ["10.255.1.1/31"]
[tunnels.paris.ike]
psk-file = "paris.psk"
local-id = "rome.example"
remote-id = "paris.example"
"""


@contextmanager
def rome_beside(pair: Pair) -> Iterator[Host]:
    """A third gateway on another wire of Paris's, whose tap joins the pair's at the end."""
    folder = pair.paris.folder.with_name("rome")
    folder.mkdir(mode=0o700)
    rome = Host("rome", folder)
    tap = None
    try:
        with pair.paris.namespace.entered(), RouteClient() as routes:
            routes.create_veth("wire2", "wire", peer_namespace=rome.namespace.fileno())
        for namespace, device, address in (
            (pair.paris.namespace, "wire2", "198.51.100.1/24"),
            (rome.namespace, "wire", "198.51.100.3/24"),
        ):
            run(
                namespace,
                f"ip link set {device} up gso_max_segs 1",
                f"ip address add {address} dev {device}",
            )
        run(rome.namespace, "ip link set lo up", "ip route add 192.0.2.0/24 via 198.51.100.1")
        tap = WireTap(pair.paris.namespace, "wire2", marker=MARKER)
        plane = pair.paris.file.read_text().split('"')[1]
        pair.paris.file.write_text(pair.paris.file.read_text() + _ROME_AT_PARIS)
        rome.file.write_text(_PARIS_AT_ROME.format(plane=plane))
        for file in (pair.paris.folder / "rome.psk", folder / "paris.psk"):
            file.touch(mode=0o600)
            file.write_text("a key that only Rome and Paris have\n")
        yield rome
        tap.catch_up()
        assert (tap.count(FrameKind.CLEAR), tap.marked) == (0, 0), tap.first_clear
    finally:
        rome.close()
        if tap is not None:
            tap.close()


# --- names


@contextmanager
def pair_by_name(plane: str, options: str = "") -> Iterator[tuple[Pair, HostsFile]]:
    """Paris knows Berlin by a name, which is its identity as well; nothing runs yet."""
    own = f'local-id = "paris.example"\nretransmit-after = 0.2\n{options}'
    with ike_pair(plane, paris=own, berlin=LISTEN, start=False) as pair:
        rewrite(pair.paris, 'remote = "192.0.2.2"', f'remote = "{NAME}"')
        yield pair, HostsFile(pair.paris)


def test_a_name_leads_to_one_address_and_then_to_another(plane: str) -> None:
    with pair_by_name(plane) as (pair, hosts):
        pair.berlin.start_daemon()
        pair.paris.start_daemon()
        unresolved = f"{NAME} cannot be resolved"
        until(says(pair.paris, unresolved), "status says that nobody knows the name")
        assert is_at(pair.paris, NAME)()
        assert_it_rests(pair)
        hosts.set(NAME, "2001:db8::2", "192.0.2.2")
        until_up_and_passing(pair)
        assert unresolved not in pair.paris.plutino("status").stdout
        assert pair.paris.last_words().count(unresolved) == 1
        address = link_local(pair.paris)
        hosts.set(NAME, ELSEWHERE)  # seen when the peer is lost
        move_berlin(pair)
        pair.berlin.start_daemon()
        until_up_and_passing(pair)
        assert is_at(pair.paris, ELSEWHERE)()
        assert link_local(pair.paris) == address
        assert f"{NAME} is {ELSEWHERE}, and was 192.0.2.2" in pair.paris.last_words()
        pair.assert_nothing_in_clear()


def test_a_handshake_with_nobody_ends_when_the_name_leads_elsewhere(plane: str) -> None:
    """And the next begins at once, not when the last repetition has had its time.

    A packet has begun it, since there are policies as soon as the name is resolved.
    """
    with pair_by_name(plane, 'start = "on-traffic"') as (pair, hosts):
        hosts.set(NAME, ELSEWHERE)
        pair.berlin.start_daemon()
        pair.paris.start_daemon()
        until(is_at(pair.paris, ELSEWHERE), "the name is resolved")
        assert ike_is(pair.paris, "down")()
        until(
            lambda: unanswered(pair) and ike_is(pair.paris, "connecting")(),
            "a packet has it speak to nobody",
        )
        hosts.set(NAME, "192.0.2.2")
        assert pair.paris.daemon is not None
        pair.paris.daemon.send_signal(signal.SIGHUP)
        until_up_and_passing(pair)
        assert f"{NAME} is 192.0.2.2, and was {ELSEWHERE}" in pair.paris.last_words()
        pair.assert_nothing_in_clear()
        # What the packet has called for at the old address is plutino's as well.
        assert pair.paris.plutino("down").stderr == ""
