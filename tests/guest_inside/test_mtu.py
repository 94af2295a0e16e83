"""The MTU of an interface against what the kernel itself takes for the largest packet."""

import socket
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from plutino.apply.applier import apply_state
from plutino.apply.system import System
from plutino.dataplane.journal import Journal, Journals
from plutino.dataplane.kernel import KernelPlane
from plutino.dataplane.sysctls import SysctlClient
from plutino.model.netfilter import table_name
from plutino.netfilter.client import NetfilterClient
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from tests.support.gateways import compiled, gateway_text
from tests.support.ip_command import ip_here
from tests.support.namespace import fresh_namespace

pytestmark = pytest.mark.guest

OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
INNER = {4: ("10.255.0.1", "10.255.0.2"), 6: ("fd00::1", "fd00::2")}
LENGTH = {4: (24, 32), 6: (64, 128)}
_LEVEL = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
_DISCOVER = {4: 10, 6: 23}
_DO = 2
_MTU = {4: 14, 6: 24}
"""IP_MTU_DISCOVER, IP_PMTUDISC_DO and IP_MTU of ``linux/in.h``, and those of ``linux/in6.h``."""
ALGORITHMS = ("aes256gcm16", "aes128ccm8", "aes128-sha256", "aes256ctr-sha512", "null-sha384")


def kernel_mtu(version: int) -> int:
    """What a socket is told after it has sent too much into the tunnel."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(_LEVEL[version], _DISCOVER[version], _DO)
        sock.connect((INNER[version][1], 9))
        for _ in range(2):  # the route that the first one changed is found by the second
            with suppress(OSError):
                sock.send(bytes(4000))
        return sock.getsockopt(_LEVEL[version], _MTU[version])


@pytest.mark.parametrize("encapsulation", ["esp", "udp"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("mode", "outer", "inner"), list(product(("tunnel", "beet"), (4, 6), (4, 6)))
)
def test_the_mtu_is_the_largest_that_the_kernel_takes(
    mode: str, outer: int, inner: int, algorithm: str, encapsulation: str, tmp_path: Path
) -> None:
    (here, there), (ours, theirs) = OUTER[outer], INNER[inner]
    prefix, host = LENGTH[inner]
    more = f'mode = "{mode}"\nencapsulation = "{encapsulation}"\n'
    more += f'addresses = ["{ours}/{prefix}"]\n'
    if mode == "beet":
        more += f'local-ts = ["{ours}/{host}"]\nremote-ts = ["{theirs}/{host}"]\n'
    text = gateway_text(more, local=here, peer=there)
    calculated = compiled(text, algorithm=algorithm).interfaces[0].mtu
    with fresh_namespace():
        ip_here("link add d0 mtu 1500 type dummy")
        ip_here(f"address add {here}/{LENGTH[outer][0]} dev d0 {'nodad' if outer == 6 else ''}")
        ip_here("link set d0 up")
        state = compiled(text.replace("mode =", "mtu = 9000\nmode ="), algorithm=algorithm)
        with RouteClients() as routes, NetlinkSocket.kernel(NETLINK_XFRM) as xfrm:
            plane = KernelPlane("default", xfrm, routes, Journals.in_memory())
            apply_state(
                state,
                plane,
                System(
                    routes,
                    NetfilterClient(table_name("default"), tmp_path / "nft"),
                    SysctlClient(routes, Journal.in_memory()),
                ),
            )
            found = kernel_mtu(inner)
    if mode == "beet" and algorithm == "aes128-sha256":
        # With whole blocks the kernel's own figure may be more than fits the path.
        assert found - 16 < calculated <= found
    else:
        assert calculated == found
