"""A pair of gateways that get their keys by IKE, on either plane."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.lab import Pair, running_pair
from tests.support.until import until

PSK = "correct horse battery staple of plutino\n"


def use_ike(host: Host, peer: str, options: str = "") -> None:
    """Instead of static keys the gateway file has IKE, with further options.

    Both ends have a pre-shared key unless these say what they prove themselves by.
    """
    text = host.file.read_text()
    place = re.search(rf"\[tunnels\.{peer}\.(static|ike)\]", text)
    assert place is not None
    has_proof = "private-key" in options or "psk-file" in options
    proof = "" if has_proof else f'psk-file = "{peer}.psk"\n'
    keying = f"[tunnels.{peer}.ike]\n{proof}{options}\n"
    host.file.write_text(text[: place.start()] + keying)
    psk = host.folder / f"{peer}.psk"
    psk.touch(mode=0o600)
    psk.write_text(PSK)


@contextmanager
def ike_pair(
    plane: str,
    family: int = 4,
    encapsulation: str = "esp",
    *,
    paris: str = "",
    berlin: str = "",
    start: bool = True,
) -> Iterator[Pair]:
    """Both gateways, with these lines in the IKE tables of their tunnels."""
    with running_pair(family, encapsulation, start=False, plane=plane) as pair:
        use_ike(pair.paris, BERLIN, paris)
        use_ike(pair.berlin, PARIS, berlin)
        if start:
            for host in (pair.paris, pair.berlin):
                host.start_daemon()
            for host in (pair.paris, pair.berlin):
                host.wait_until_up()
        yield pair


def passes(paris: Host, place: int = 0) -> bool:
    """Whether one ping through the tunnel is answered, of IPv4 or (1) of IPv6."""
    return ping(paris.namespace, ip_address(INNER[BERLIN][place]), count=1)[0] == 1


def until_it_passes(pair: Pair) -> None:
    """The tunnel is up for IPv4 and IPv6 inside."""
    until(lambda: passes(pair.paris), "IPv4 passes")
    until(lambda: passes(pair.paris, 1), "IPv6 passes")


def spis(host: Host) -> set[str]:
    """Of the first tunnel's SAs."""
    report = host.status()
    assert report is not None
    return {sa.spi for sa in report.tunnels[0].sas}


def ike_processes(host: Host) -> list[Path]:
    """Of a host's daemon, in /proc."""
    assert host.daemon is not None
    return [one for one in Path("/proc").glob("[0-9]*") if _is_ike_process(one, host.daemon.pid)]


def _is_ike_process(place: Path, parent: int) -> bool:
    try:
        is_ike = b"plutino.ike_process" in (place / "cmdline").read_bytes()
        # Its name, in parentheses, may hold anything.
        state_and_parent = (place / "stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has just ended
    return is_ike and int(state_and_parent[1]) == parent
