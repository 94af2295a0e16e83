"""The fixed structures of ``linux/xfrm.h`` for SAs and what all messages share.

Members bear the names and the order of the header, so that it serves as their documentation.
Those of policies, migration and information are in ``structures_policy``.
"""

# nested() gives a dataclasses.field(), which is no shared default.

from typing import Final

from plutino.model.wire_value import wire_value
from plutino.netlink.xfrm.layout import (
    Structure,
    address,
    be16,
    be32,
    name,
    nested,
    reserved,
    s32,
    u8,
    u16,
    u32,
    u64,
)

XFRM_INF: Final = 0xFFFFFFFFFFFFFFFF
"""No limit in octets or packets; limits in seconds have 0 for none."""


@wire_value
class XfrmId(Structure):
    """``struct xfrm_id``: what identifies an SA, without family and mark."""

    daddr: bytes = address()
    spi: int = be32()
    proto: int = u8()


@wire_value
class XfrmSelector(Structure):
    """``struct xfrm_selector``: which packets."""

    daddr: bytes = address()
    saddr: bytes = address()
    dport: int = be16()
    dport_mask: int = be16()
    sport: int = be16()
    sport_mask: int = be16()
    family: int = u16()
    prefixlen_d: int = u8()
    prefixlen_s: int = u8()
    proto: int = u8()
    ifindex: int = s32()
    user: int = u32()


@wire_value
class LifetimeConfig(Structure):
    """``struct xfrm_lifetime_cfg``: octets, packets, seconds."""

    soft_byte_limit: int = u64()
    hard_byte_limit: int = u64()
    soft_packet_limit: int = u64()
    hard_packet_limit: int = u64()
    soft_add_expires_seconds: int = u64()
    hard_add_expires_seconds: int = u64()
    soft_use_expires_seconds: int = u64()
    hard_use_expires_seconds: int = u64()


UNLIMITED: Final = LifetimeConfig(XFRM_INF, XFRM_INF, XFRM_INF, XFRM_INF)
"""A lifetime without end. All zero would mean an SA that has expired at its first octet."""


@wire_value
class LifetimeCurrent(Structure):
    """``struct xfrm_lifetime_cur``: octets and packets so far; seconds since the epoch."""

    bytes: int = u64()
    packets: int = u64()
    add_time: int = u64()
    use_time: int = u64()


@wire_value
class XfrmStats(Structure):
    """``struct xfrm_stats``: drops of an SA by cause."""

    replay_window: int = u32()
    replay: int = u32()
    integrity_failed: int = u32()


@wire_value
class UserSaInfo(Structure):
    """``struct xfrm_usersa_info``: one SA, but for what attributes say."""

    sel: XfrmSelector = nested(XfrmSelector)
    id: XfrmId = nested(XfrmId)
    saddr: bytes = address()
    lft: LifetimeConfig = nested(LifetimeConfig)
    curlft: LifetimeCurrent = nested(LifetimeCurrent)
    stats: XfrmStats = nested(XfrmStats)
    seq: int = u32()
    reqid: int = u32()
    family: int = u16()
    mode: int = u8()
    replay_window: int = u8()
    flags: int = u8()


@wire_value
class UserSaId(Structure):
    """``struct xfrm_usersa_id``: names an SA."""

    daddr: bytes = address()
    spi: int = be32()
    family: int = u16()
    proto: int = u8()


@wire_value
class AeventId(Structure):
    """``struct xfrm_aevent_id``: replay and lifetime state of an SA."""

    sa_id: UserSaId = nested(UserSaId)
    saddr: bytes = address()
    flags: int = u32()
    reqid: int = u32()


@wire_value
class UserSpiInfo(Structure):
    """``struct xfrm_userspi_info``: asks for an SPI between ``min`` and ``max``."""

    info: UserSaInfo = nested(UserSaInfo)
    min: int = u32()
    max: int = u32()


@wire_value
class UserExpire(Structure):
    """``struct xfrm_user_expire``: an SA has reached a soft or hard limit."""

    state: UserSaInfo = nested(UserSaInfo)
    hard: int = u8()


@wire_value
class UserSaFlush(Structure):
    """``struct xfrm_usersa_flush``."""

    proto: int = u8()


@wire_value
class UserMapping(Structure):
    """``struct xfrm_user_mapping``: the peer's NAT has given it another address or port."""

    id: UserSaId = nested(UserSaId)
    reqid: int = u32()
    old_saddr: bytes = address()
    new_saddr: bytes = address()
    old_sport: int = be16()
    new_sport: int = be16()


@wire_value
class XfrmMark(Structure):
    """``struct xfrm_mark``: value and mask."""

    v: int = u32()
    m: int = u32()


@wire_value
class ReplayState(Structure):
    """``struct xfrm_replay_state``: the legacy window of 32 packets; bit n is number seq - n."""

    oseq: int = u32()
    seq: int = u32()
    bitmap: int = u32()


@wire_value
class EncapTemplate(Structure):
    """``struct xfrm_encap_tmpl``: ESP in UDP or TCP."""

    encap_type: int = u16()
    encap_sport: int = be16()
    encap_dport: int = be16()
    encap_oa: bytes = address()


@wire_value
class AddressFilter(Structure):
    """``struct xfrm_address_filter``: narrows a dump of SAs."""

    saddr: bytes = address()
    daddr: bytes = address()
    family: int = u16()
    splen: int = u8()
    dplen: int = u8()


@wire_value
class UserOffload(Structure):
    """``struct xfrm_user_offload``: which device does the cryptography."""

    ifindex: int = s32()
    flags: int = u8()


@wire_value
class AlgorithmHeader(Structure):
    """``struct xfrm_algo`` without its key; lengths in bits."""

    alg_name: str = name()
    alg_key_len: int = u32()


@wire_value
class AuthHeader(Structure):
    """``struct xfrm_algo_auth`` without its key; lengths in bits."""

    alg_name: str = name()
    alg_key_len: int = u32()
    alg_trunc_len: int = u32()


@wire_value
class AeadHeader(Structure):
    """``struct xfrm_algo_aead`` without its key; lengths in bits."""

    alg_name: str = name()
    alg_key_len: int = u32()
    alg_icv_len: int = u32()


@wire_value
class ReplayEsnHeader(Structure):
    """``struct xfrm_replay_state_esn`` without its bitmap; ``bmp_len`` in words of 32 bits."""

    bmp_len: int = u32()
    oseq: int = u32()
    seq: int = u32()
    oseq_hi: int = u32()
    seq_hi: int = u32()
    replay_window: int = u32()


@wire_value
class SecurityContextHeader(Structure):
    """``struct xfrm_user_sec_ctx`` without its text; lengths in bytes."""

    len: int = u16()
    exttype: int = u16()
    ctx_alg: int = u8()
    ctx_doi: int = u8()
    ctx_len: int = u16()


@wire_value
class SadHashInfo(Structure):
    """``struct xfrmu_sadhinfo``: hash buckets, now and at most."""

    sadhcnt: int = u32()
    sadhmcnt: int = u32()


@wire_value
class KmAddress(Structure):
    """``struct xfrm_user_kmaddress``: where IKE is to be found after a migration."""

    local: bytes = address()
    remote: bytes = address()
    reserved: int = reserved("I")
    family: int = u16()
