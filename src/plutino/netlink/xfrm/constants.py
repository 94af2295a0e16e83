"""The numbers of ``linux/xfrm.h``: messages, attributes, groups and flags."""

from enum import IntEnum, IntFlag


class MessageType(IntEnum):
    """``XFRM_MSG_*``."""

    NEWSA = 0x10
    DELSA = 0x11
    GETSA = 0x12
    NEWPOLICY = 0x13
    DELPOLICY = 0x14
    GETPOLICY = 0x15
    ALLOCSPI = 0x16
    ACQUIRE = 0x17
    EXPIRE = 0x18
    UPDPOLICY = 0x19
    UPDSA = 0x1A
    POLEXPIRE = 0x1B
    FLUSHSA = 0x1C
    FLUSHPOLICY = 0x1D
    NEWAE = 0x1E
    GETAE = 0x1F
    REPORT = 0x20
    MIGRATE = 0x21
    NEWSADINFO = 0x22
    GETSADINFO = 0x23
    NEWSPDINFO = 0x24
    GETSPDINFO = 0x25
    MAPPING = 0x26
    SETDEFAULT = 0x27
    GETDEFAULT = 0x28
    MIGRATE_STATE = 0x29


class Xfrma(IntEnum):
    """``XFRMA_*``: attributes of all messages but SADINFO and SPDINFO."""

    ALG_AUTH = 1
    ALG_CRYPT = 2
    ALG_COMP = 3
    ENCAP = 4
    TMPL = 5
    SA = 6
    POLICY = 7
    SEC_CTX = 8
    LTIME_VAL = 9
    REPLAY_VAL = 10
    REPLAY_THRESH = 11
    ETIMER_THRESH = 12
    SRCADDR = 13
    COADDR = 14
    LASTUSED = 15
    POLICY_TYPE = 16
    MIGRATE = 17
    ALG_AEAD = 18
    KMADDRESS = 19
    ALG_AUTH_TRUNC = 20
    MARK = 21
    TFCPAD = 22
    REPLAY_ESN_VAL = 23
    SA_EXTRA_FLAGS = 24
    PROTO = 25
    ADDRESS_FILTER = 26
    PAD = 27
    OFFLOAD_DEV = 28
    SET_MARK = 29
    SET_MARK_MASK = 30
    IF_ID = 31
    MTIMER_THRESH = 32
    SA_DIR = 33
    NAT_KEEPALIVE_INTERVAL = 34
    SA_PCPU = 35
    IPTFS_DROP_TIME = 36
    IPTFS_REORDER_WINDOW = 37
    IPTFS_DONT_FRAG = 38
    IPTFS_INIT_DELAY = 39
    IPTFS_MAX_QSIZE = 40
    IPTFS_PKT_SIZE = 41


class SadAttribute(IntEnum):
    """``XFRMA_SAD_*``: attributes of NEWSADINFO."""

    CNT = 1
    HINFO = 2


class SpdAttribute(IntEnum):
    """``XFRMA_SPD_*``: attributes of NEWSPDINFO."""

    INFO = 1
    HINFO = 2
    IPV4_HTHRESH = 3
    IPV6_HTHRESH = 4


class Group(IntEnum):
    """``XFRMNLGRP_*``: multicast groups; bit n-1 of a membership bitmap is group n."""

    ACQUIRE = 1
    EXPIRE = 2
    SA = 3
    POLICY = 4
    AEVENTS = 5
    REPORT = 6
    MIGRATE = 7
    MAPPING = 8

    @property
    def bit(self) -> int:
        """The group in a membership bitmap."""
        return 1 << (self - 1)


class SaFlag(IntFlag):
    """``XFRM_STATE_*`` in ``xfrm_usersa_info.flags``."""

    NOECN = 1
    DECAP_DSCP = 2
    NOPMTUDISC = 4
    WILDRECV = 8
    ICMP = 16
    AF_UNSPEC = 32
    ALIGN4 = 64
    ESN = 128


class SaExtraFlag(IntFlag):
    """``XFRM_SA_XFLAG_*`` in XFRMA_SA_EXTRA_FLAGS."""

    DONT_ENCAP_DSCP = 1
    OSEQ_MAY_WRAP = 2


class PolicyFlag(IntFlag):
    """``XFRM_POLICY_*`` in ``xfrm_userpolicy_info.flags``."""

    LOCALOK = 1
    ICMP = 2
    CPU_ACQUIRE = 4


class AeventFlag(IntFlag):
    """``XFRM_AE_*``: what an aevent holds and why it came."""

    RTHR = 1
    RVAL = 2
    LVAL = 4
    ETHR = 8
    CR = 16
    CE = 32
    CU = 64


class OffloadFlag(IntFlag):
    """``XFRM_OFFLOAD_*``."""

    IPV6 = 1
    INBOUND = 2
    PACKET = 4


class MigrateStateFlag(IntFlag):
    """``XFRM_MIGRATE_STATE_*``."""

    CLEAR_OFFLOAD = 1
    UPDATE_H2H_SEL = 2


POLICY_TYPE_MAIN = 0
POLICY_TYPE_SUB = 1
UDP_ENCAP_ESPINUDP = 2
"""``linux/udp.h``."""
REPLAY_ESN_MAX = 4096
"""``XFRMA_REPLAY_ESN_MAX``: bits of the replay bitmap at most."""
