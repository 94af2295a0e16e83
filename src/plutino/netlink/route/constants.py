"""The numbers of rtnetlink that plutino uses (``linux/rtnetlink.h`` and its kin)."""

from enum import IntEnum


class RouteMessage(IntEnum):
    """``RTM_*``."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    NEWADDR = 20
    DELADDR = 21
    GETADDR = 22
    NEWROUTE = 24
    DELROUTE = 25
    GETROUTE = 26
    NEWRULE = 32
    DELRULE = 33
    GETRULE = 34
    NEWQDISC = 36


class Ifla(IntEnum):
    """``IFLA_*`` (``linux/if_link.h``)."""

    IFNAME = 3
    MTU = 4
    MASTER = 10
    OPERSTATE = 16
    LINKMODE = 17
    LINKINFO = 18
    IFALIAS = 20
    STATS64 = 23
    AF_SPEC = 26
    GROUP = 27
    NET_NS_FD = 28
    EXT_MASK = 29
    GSO_MAX_SEGS = 40


class IflaInfo(IntEnum):
    """``IFLA_INFO_*``, inside LINKINFO."""

    KIND = 1
    DATA = 2


class IflaXfrm(IntEnum):
    """``IFLA_XFRM_*``, the data of a link of kind ``xfrm``."""

    LINK = 1
    IF_ID = 2
    COLLECT_METADATA = 3


class IflaVti(IntEnum):
    """``IFLA_VTI_*`` (``linux/if_tunnel.h``): keys in network order."""

    LINK = 1
    IKEY = 2
    OKEY = 3
    LOCAL = 4
    REMOTE = 5
    FWMARK = 6


class Ifa(IntEnum):
    """``IFA_*`` (``linux/if_addr.h``)."""

    ADDRESS = 1
    LOCAL = 2
    FLAGS = 8


class Rta(IntEnum):
    """``RTA_*`` (``linux/rtnetlink.h``)."""

    DST = 1
    SRC = 2
    OIF = 4
    GATEWAY = 5
    PRIORITY = 6
    PREFSRC = 7
    METRICS = 8
    MULTIPATH = 9
    TABLE = 15
    MARK = 16
    ENCAP_TYPE = 21
    ENCAP = 22


class RouteGroup(IntEnum):
    """``RTNLGRP_*``: multicast groups; bit n-1 of a membership bitmap is group n."""

    LINK = 1
    IPV4_IFADDR = 5
    IPV4_ROUTE = 7
    IPV4_RULE = 8
    IPV6_IFADDR = 9
    IPV6_ROUTE = 11
    IPV6_RULE = 19
    IPV4_NETCONF = 24
    IPV6_NETCONF = 25


IF_OPER_DORMANT = 5
IF_OPER_UP = 6
IF_LINK_MODE_DEFAULT = 0
IF_LINK_MODE_DORMANT = 1
"""``linux/if.h``."""
AF_INET = 2
AF_INET6 = 10
IFF_UP = 1
IFF_POINTOPOINT = 0x10
IFF_MULTICAST = 0x1000
IFF_LOWER_UP = 0x10000
"""``linux/if.h``."""
IFLA_VRF_TABLE = 1
LWTUNNEL_ENCAP_XFRM = 10
"""``linux/lwtunnel.h``."""
LWT_XFRM_IF_ID = 1
IFA_F_NODAD = 0x02
TCA_KIND = 1
TC_H_ROOT = 0xFFFFFFFF
IFLA_INET6_ADDR_GEN_MODE = 8
IN6_ADDR_GEN_MODE_NONE = 1
RTN_OF_THIS_MACHINE = {2, 3, 4}
"""``RTN_LOCAL``, ``RTN_BROADCAST`` and ``RTN_ANYCAST``: what goes there comes to this machine."""
RTAX_MTU = 2
RTEXT_FILTER_SKIP_STATS = 8
"""``linux/rtnetlink.h``: a dump without counters."""
RTM_F_CLONED = 0x200
RTNH_F_ONLINK = 4
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_TABLE_COMPAT = 252
VETH_INFO_PEER = 1
"""``linux/veth.h``."""
