"""The number of the nftables ruleset, which every change of it raises (NFT_MSG_GETGEN)."""

import os
import struct
from typing import Final

from plutino.model.errors import KernelError, PlaneError
from plutino.netfilter.events import NETLINK_NETFILTER
from plutino.netlink.socket import NetlinkSocket
from plutino.netlink.wire import parse_attributes

_SUBSYSTEM: Final = 10
_GETGEN: Final = _SUBSYSTEM << 8 | 16
_NEWGEN: Final = _SUBSYSTEM << 8 | 15
_NFGENMSG: Final = struct.Struct("!BBH")
_NFTA_GEN_ID: Final = 1
"""``linux/netfilter/nf_tables.h``."""


def ruleset_generation() -> tuple[int, int]:
    """Numbers of the network namespace and of its ruleset. Raises PlaneError without nftables."""
    namespace = os.stat("/proc/thread-self/ns/net").st_ino
    with NetlinkSocket.kernel(NETLINK_NETFILTER) as socket:
        try:
            replies = socket.request("ask for the ruleset", _GETGEN, _NFGENMSG.pack(0, 0, 0))
        except KernelError as error:
            raise PlaneError(str(error)) from error
    for one in replies:
        if one.type == _NEWGEN:
            attributes = parse_attributes(one.payload[_NFGENMSG.size :], what="NFT_MSG_NEWGEN")
            for attribute in attributes:
                if attribute.number == _NFTA_GEN_ID:
                    return namespace, int.from_bytes(attribute.payload, "big")
    raise PlaneError("the kernel tells no number of its ruleset")
