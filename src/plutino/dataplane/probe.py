"""What this machine's kernel can do as a data plane, found by trying.

Each feature is tried in a network namespace of its own that nobody sees; versions and build
options are not believed, since distributions change both.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any, Final

from plutino.dataplane.journal import Journals
from plutino.dataplane.kernel import XFRM_STAT, KernelPlane
from plutino.dataplane.scratch import ScratchError, in_scratch_namespace
from plutino.dataplane.underlay import EncapsulationSockets, SocketKind
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES
from plutino.model.errors import KernelError, PlutinoError
from plutino.model.interface import Interface
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import Direction, IpAddress, Policy, Selector, Template
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation, UdpEncapsulation
from plutino.model.secret import Secret
from plutino.netlink.route_client import RouteClient
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.wire import NLM_F_DUMP
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm_client import XfrmClient


class Feature(StrEnum):
    """What is tried, in this order."""

    LINK = "XFRM interface"
    POLICY = "policies by if_id"
    ESP_V4 = "ESP over IPv4, AES-GCM"
    ESP_V6 = "ESP over IPv6, AES-GCM"
    ESN = "extended sequence numbers"
    OUTPUT_MARK = "output mark under a mask"
    UDP_V4 = "ESP in UDP over IPv4"
    UDP_V6 = "ESP in UDP over IPv6"
    SA_DIRECTION = "direction of SAs"
    POLICY_DEFAULT = "policy defaults"
    STATISTICS = "drop counters"


OPTIONAL: Final = frozenset({Feature.SA_DIRECTION, Feature.POLICY_DEFAULT, Feature.STATISTICS})
"""What the kernel plane does without."""
_OPTIONS: Final = {
    Feature.LINK: "CONFIG_XFRM_INTERFACE",
    Feature.POLICY: "CONFIG_XFRM_USER",
    Feature.ESP_V4: "CONFIG_INET_ESP, CONFIG_CRYPTO_GCM",
    Feature.ESP_V6: "CONFIG_INET6_ESP, CONFIG_CRYPTO_GCM",
    Feature.ESN: "CONFIG_INET_ESP, CONFIG_CRYPTO_ECHAINIV",
    Feature.OUTPUT_MARK: "Linux 4.19",
    Feature.UDP_V4: "CONFIG_INET_ESP",
    Feature.UDP_V6: "CONFIG_INET6_ESP, Linux 5.8",
    Feature.SA_DIRECTION: "Linux 6.10",
    Feature.POLICY_DEFAULT: "Linux 5.15",
    Feature.STATISTICS: "CONFIG_XFRM_STATISTICS",
}
_ENDS: Final = {
    4: (ip_address("192.0.2.1"), ip_address("192.0.2.2")),
    6: (ip_address("2001:db8::1"), ip_address("2001:db8::2")),
}
_IF_ID: Final = IfId(1)
_REQID: Final = ReqId(1)
_MARK: Final = Mark(0x10, 0xF0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature. ``words`` are the kernel's if it refused, ``option`` what it would need."""

    feature: Feature
    supported: bool
    needed: bool
    words: str
    option: str


@dataclass(frozen=True, slots=True)
class KernelReport:
    """What the kernel of that release can do."""

    release: str
    findings: tuple[Finding, ...]

    @property
    def missing(self) -> tuple[Finding, ...]:
        """What is needed and is not there; none if the kernel can be the data plane."""
        return tuple(one for one in self.findings if one.needed and not one.supported)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"release": self.release, "features": [asdict(one) for one in self.findings]}


def probe_kernel() -> KernelReport:
    """Try everything; nothing is left. The kernel may load its modules for it.

    What the kernel lacks is no error. Raises ScratchError if nothing can be tried.
    """
    findings: list[Finding] = []
    for feature, attempt in _ATTEMPTS.items():
        words, supported = "", True
        try:
            in_scratch_namespace(attempt)
        except KernelError as error:
            supported = False
            name = errno.errorcode.get(error.errno, str(error.errno))
            words = f"{error.extack or os.strerror(error.errno)} ({name})"
        except ScratchError:
            raise
        except PlutinoError as error:
            supported, words = False, str(error)
        needed = feature not in OPTIONAL
        option = _OPTIONS[feature]
        if words:
            # The same refusal as before has the same reason: without ESP no SA can have a mark.
            option = next((one.option for one in findings if one.words == words), option)
        findings.append(Finding(feature, supported, needed, words, option))
    return KernelReport(os.uname().release, tuple(findings))


def _refused(step: str, why: str) -> KernelError:
    """The kernel took a request and made something else of it."""
    return KernelError(step, errno.EOPNOTSUPP, why)


def _sa(version: int, direction: SaDirection, *, esn: bool = False) -> SecurityAssociation:
    """An SA as plutino installs them, with a key that nobody uses."""
    suite = ESP_SUITES[DEFAULT_ALGORITHM]
    ends: tuple[IpAddress, IpAddress] = _ENDS[version]
    source, destination = ends if direction is SaDirection.OUT else reversed(ends)
    keymat = Secret(bytes(range(suite.keymat_size)))
    return SecurityAssociation(
        spi=Spi(0x1000),
        source=source,
        destination=destination,
        reqid=_REQID,
        if_id=_IF_ID,
        keys=suite.keys(keymat),
        direction=direction,
        esn=esn,
        replay=ReplayState(window=0 if direction is SaDirection.OUT else 64),
    )


def _add_and_read(*sas: SecurityAssociation) -> None:
    """Add SAs as the plane does, and look whether they are what they should be."""
    with RouteClients() as routes, NetlinkSocket.kernel(NETLINK_XFRM) as kernel:
        plane = KernelPlane("probe", kernel, routes, Journals.in_memory(), reqids=[_REQID])
        plane.add_sas(sas)
        found = {sa.identity: sa for sa, _ in plane.list_sas()}
        for sa in sas:
            if found.get(sa.identity) != sa:
                raise _refused("read the SA back", "the kernel made another SA of it")


def _try_link() -> None:
    with RouteClient() as routes:
        routes.create_interfaces([Interface("probe", _IF_ID, 1400)])
        link = routes.find_link("probe")
        if link is None or link.if_id != _IF_ID:
            raise _refused("read the link back", "the link has no if_id")


def _try_policy() -> None:
    template = Template(*_ENDS[4], _REQID)
    everything = ip_network("0.0.0.0/0")
    policy = Policy(Direction.OUT, Selector(everything, everything), _IF_ID, (template,))
    with NetlinkSocket.kernel(NETLINK_XFRM) as kernel:
        client = XfrmClient(kernel)
        client.add_policy(policy)
        if policy not in client.list_policies():
            raise _refused("read the policy back", "the kernel made another policy of it")


def _try_esp(version: int, *, esn: bool = False) -> None:
    # The mark, which ours have too, tells outbound SAs where the kernel knows no direction.
    outbound = replace(_sa(version, SaDirection.OUT, esn=esn), output_mark=_MARK if esn else None)
    _add_and_read(outbound, _sa(version, SaDirection.IN, esn=esn))


def _try_output_mark() -> None:
    _add_and_read(replace(_sa(4, SaDirection.OUT), output_mark=_MARK))


def _try_udp(version: int, kind: SocketKind) -> None:
    _add_and_read(replace(_sa(version, SaDirection.IN), encapsulation=UdpEncapsulation()))
    sockets = EncapsulationSockets()
    try:
        sockets.hold({kind})
    finally:
        sockets.close()


def _try_direction() -> None:
    """Kernels before 6.10 take the attribute without a word and forget it."""
    step = "read the SA back"
    _add_and_read(_sa(4, SaDirection.OUT))
    with NetlinkSocket.kernel(NETLINK_XFRM) as kernel:
        request = XfrmMessage(MessageType.GETSA, None, is_dump=True)
        replies = kernel.request(step, request.kind, request.encode(), flags=NLM_F_DUMP)
    directions = [XfrmMessage.parse(message).find(Xfrma.SA_DIR, int) for message in replies]
    if directions != [SaDirection.OUT]:
        raise _refused(step, "the kernel forgets it")


def _try_policy_default() -> None:
    with NetlinkSocket.kernel(NETLINK_XFRM) as kernel:
        XfrmClient(kernel).get_default()


def _try_statistics() -> None:
    try:
        XFRM_STAT.read_text()
    except OSError as error:
        raise KernelError(f"read {XFRM_STAT}", error.errno or errno.EIO) from error


_ATTEMPTS: Final[dict[Feature, Callable[[], None]]] = {
    Feature.LINK: _try_link,
    Feature.POLICY: _try_policy,
    Feature.ESP_V4: lambda: _try_esp(4),
    Feature.ESP_V6: lambda: _try_esp(6),
    Feature.ESN: lambda: _try_esp(4, esn=True),
    Feature.OUTPUT_MARK: _try_output_mark,
    Feature.UDP_V4: lambda: _try_udp(4, SocketKind.UDP_V4),
    Feature.UDP_V6: lambda: _try_udp(6, SocketKind.UDP_V6),
    Feature.SA_DIRECTION: _try_direction,
    Feature.POLICY_DEFAULT: _try_policy_default,
    Feature.STATISTICS: _try_statistics,
}
