"""The demo: two hosts, a tunnel between them, real packets through it, and a look at the wire."""

import os
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, Final

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.control.report import StatusReport, encode_report
from plutino.lab.hosts import WIRE, Host, connect
from plutino.lab.pcapng import PcapngWriter
from plutino.lab.traffic import MARKER, ping, transfer
from plutino.lab.wire import FrameKind, WireTap
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES
from plutino.model.errors import PlaneError
from plutino.netlink.route_client import RouteClient
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient

PARIS: Final = "paris"
BERLIN: Final = "berlin"
OUTER: Final = {
    4: {PARIS: "192.0.2.1", BERLIN: "192.0.2.2"},
    6: {PARIS: "2001:db8::1", BERLIN: "2001:db8::2"},
}
_OUTER_LENGTH: Final = {4: 24, 6: 64}
INNER: Final = {
    PARIS: ("10.255.0.0", "fd00:1::"),
    BERLIN: ("10.255.0.1", "fd00:1::1"),
}
_INNER_LENGTH: Final = (31, 127)
_PSK: Final = "demo.psk"
NETWORKS: Final = {
    PARIS: ("10.1.0.0/16", "2001:db8:1::/48"),
    BERLIN: ("10.2.0.0/16", "2001:db8:2::/48"),
}


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for. ``family`` is that of the outer addresses.

    ``plane`` is the ``data-plane`` of both hosts, or of Paris where ``peer_plane`` is Berlin's.
    ``keys`` are ``static`` or come by ``ike``.
    """

    encapsulation: str = "esp"
    family: int = 4
    plane: str = "auto"
    capture: BinaryIO | None = None
    peer_plane: str | None = None
    mode: str = "tunnel"
    algorithm: str = DEFAULT_ALGORITHM
    keys: str = "static"

    @property
    def inner(self) -> tuple[int, ...]:
        """IP versions inside; BEET has one pair of addresses."""
        return (4,) if self.mode == "beet" else (4, 6)

    def plane_of(self, name: str) -> str:
        """The ``data-plane`` of a host."""
        return self.plane if self.peer_plane is None or name == PARIS else self.peer_plane


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    detail: str


@dataclass(slots=True)
class DemoReport:
    """All checks, both status reports, and the frames on the wire by kind."""

    checks: list[Check] = field(default_factory=list)
    status: dict[str, dict[str, Any]] = field(default_factory=dict)
    wire: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"version": 1, "passed": self.passed, **asdict(self)}


def gateway_text(here: str, there: str, options: DemoOptions) -> str:
    """The gateway file of one end, as a user would write it."""
    number = len(options.inner)
    inner = ", ".join(
        f'"{address}/{length}"'
        for address, length in zip(INNER[here][:number], _INNER_LENGTH, strict=False)
    )
    if options.mode == "beet":
        fixed = f'''local-ts = ["{INNER[here][0]}/32"]
remote-ts = ["{INNER[there][0]}/32"]'''
    else:
        fixed = "routes = [{}]".format(", ".join(f'"{one}"' for one in NETWORKS[there]))
    return f"""\
data-plane = "{options.plane_of(here)}"

[tunnels.{there}]
interface = "ipsec1"
local = "{OUTER[options.family][here]}"
remote = "{OUTER[options.family][there]}"
addresses = [{inner}]
{fixed}
encapsulation = "{options.encapsulation}"
mode = "{options.mode}"

{_keying(here, there, options)}"""


def _keying(here: str, there: str, options: DemoOptions) -> str:
    if options.keys == "static":
        return f'[tunnels.{there}.static]\nkey-file = "{here}-{there}.keys"\n'
    return (
        f'[tunnels.{there}.ike]\nlocal-id = "{here}.example"\nremote-id = "{there}.example"\n'
        f'psk-file = "{_PSK}"\nesp-proposals = ["{options.algorithm}"]\n'
    )


def make_hosts(folder: Path, options: DemoOptions) -> tuple[Host, Host]:
    """Paris and Berlin with their files, connected by a wire. Nothing of plutino runs yet."""
    keys = generate_pair(os.urandom, options.algorithm)
    psk = b64encode(os.urandom(32)).decode()
    hosts = []
    for here, there, own in ((PARIS, BERLIN, keys[0]), (BERLIN, PARIS, keys[1])):
        place = folder / here
        place.mkdir(mode=0o700, parents=True)
        (place / "gateway.toml").write_text(gateway_text(here, there, options))
        is_static = options.keys == "static"
        key_file = place / (f"{here}-{there}.keys" if is_static else _PSK)
        key_file.touch(mode=0o600)
        key_file.write_text(encode_keys(own, used_at=here, peer=there) if is_static else psk)
        hosts.append(Host(here, place))
    paris, berlin = hosts
    outer = {
        name: tuple(f"{OUTER[family][name]}/{_OUTER_LENGTH[family]}" for family in (4, 6))
        for name in (PARIS, BERLIN)
    }
    has_engines = {options.plane_of(name) for name in (PARIS, BERLIN)} == {"userspace"}
    connect(paris, berlin, outer, linear=not has_engines)
    return paris, berlin


def run_demo(
    folder: Path,
    options: DemoOptions,
    say: Callable[[str], None],
    hold: Callable[[tuple[Host, Host]], None] | None = None,
) -> DemoReport:
    """Everything, from an empty folder to an empty machine. ``hold`` is called while it is up."""
    report = DemoReport()
    hosts = make_hosts(folder, options)
    outer = OUTER[options.family]
    say(f"two hosts, paris ({outer[PARIS]}) and berlin ({outer[BERLIN]}), a wire between them")
    writer = None if options.capture is None else PcapngWriter(options.capture, WIRE)
    tap = WireTap(
        hosts[0].namespace, WIRE, marker=MARKER, on_frame=None if writer is None else writer.write
    )
    try:
        for host in hosts:
            host.start_daemon()
        for host in hosts:
            host.wait_until_up()
        how = "" if options.keys == "static" else ", with keys by IKEv2"
        say(f"plutino runs on both; ipsec1 is up{how}")
        _check_traffic(report, hosts, options, say)
        for host in hosts:
            _keep_status(report, host, say)
        if hold is not None:
            hold(hosts)
    finally:
        for host in hosts:
            _check_removal(report, host, say)
        tap.close()
    _check_wire(report, tap, options, say)
    return report


def _note(
    report: DemoReport, say: Callable[[str], None], name: str, passed: bool, detail: str
) -> None:
    report.checks.append(Check(name, passed, detail))
    say(f"{'ok    ' if passed else 'FAILED'}  {name}: {detail}")


def _check_traffic(
    report: DemoReport, hosts: tuple[Host, Host], options: DemoOptions, say: Callable[[str], None]
) -> None:
    paris, berlin = hosts
    number = len(options.inner)
    for here, there in ((paris, berlin), (berlin, paris)):
        for text in INNER[there.name][:number]:
            came, mean = ping(here.namespace, ip_address(text))
            detail = f"{came} of 3 replies, {mean * 1e3:.2f} ms"
            _note(report, say, f"ping {text} from {here.name}", came == 3, detail)
    for here, there, text in (
        (paris, berlin, INNER[BERLIN][0]),
        (berlin, paris, INNER[PARIS][number - 1]),
    ):
        done = transfer(here.namespace, there.namespace, ip_address(text))
        detail = f"{done.octets >> 20} MiB, {done.gigabits_per_second:.2f} Gbit/s, unchanged"
        if not done.intact:
            detail = done.error or f"{done.octets} bytes arrived, and not those that were sent"
        _note(report, say, f"TCP from {here.name} to {text}", done.intact, detail)


def _keep_status(report: DemoReport, host: Host, say: Callable[[str], None]) -> None:
    status: StatusReport | None = host.status()
    if status is None:
        raise PlaneError(f"{host.name} has no status: {host.last_words()}")
    report.status[host.name] = encode_report(status)
    say(f"$ plutino status          # at {host.name}")
    for line in host.plutino("status").stdout.splitlines():
        say(f"    {line}")


def _check_removal(report: DemoReport, host: Host, say: Callable[[str], None]) -> None:
    done = host.plutino("down")
    with host.namespace.entered(), RouteClient() as routes:
        links = {link.name for link in routes.list_links()} - {"lo", WIRE}
        left = [*links, *(str(one.destination) for one in routes.list_routes(protocol=134))]
        left += _transforms_left()
    detail = "nothing of plutino is left"
    if done.returncode != 0:
        detail = done.stderr.strip()
    elif left:
        detail = f"left behind: {', '.join(left)}"
    _note(report, say, f"plutino down at {host.name}", detail.startswith("nothing"), detail)
    if host.daemon is not None:
        host.daemon.wait()


def _transforms_left() -> list[str]:
    """SAs and policies in the kernel of the current namespace, where nobody else makes any."""
    try:
        socket = NetlinkSocket.kernel(NETLINK_XFRM)
    except PlaneError:
        return []  # a kernel without XFRM holds none
    with socket:
        client = XfrmClient(socket)
        policies = client.spd_info()
        counts = {
            "SAs": client.sad_info().count,
            "policies": policies.incnt + policies.outcnt + policies.fwdcnt,
        }
    return [f"{count} {what} in the kernel" for what, count in counts.items() if count]


def _check_wire(
    report: DemoReport, tap: WireTap, options: DemoOptions, say: Callable[[str], None]
) -> None:
    report.wire = tap.counts()
    wanted = FrameKind.ESP_IN_UDP if options.encapsulation == "udp" else FrameKind.ESP
    other = FrameKind.ESP if wanted is FrameKind.ESP_IN_UDP else FrameKind.ESP_IN_UDP
    seen, strange = tap.count(wanted), tap.count(other)
    words = "ESP in UDP" if wanted is FrameKind.ESP_IN_UDP else "ESP"
    detail = f"{seen} packets of {words}, {tap.count(FrameKind.NEIGHBOUR)} of the link itself"
    if options.keys == "ike":
        words, detail = f"IKE and {words}", f"{tap.count(FrameKind.IKE)} packets of IKE, {detail}"
    _note(report, say, f"only {words} on the wire", seen > 0 and strange == 0, detail)
    clear = tap.count(FrameKind.CLEAR)
    detail = f"{clear} packets in clear, {tap.marked} with readable content"
    if tap.first_clear is not None:
        detail += f"; the first: {tap.first_clear[:64].hex()}"
    if not ESP_SUITES[options.algorithm].is_secret:
        detail += f", since {options.algorithm} protects integrity alone"
        _note(report, say, "nothing without ESP", clear == 0 and tap.marked > 0, detail)
        return
    _note(report, say, "nothing in clear", clear == 0 and tap.marked == 0, detail)
