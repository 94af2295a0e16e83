"""The fixed structures of ``linux/xfrm.h`` for policies, acquires, migration and information."""

# nested() gives a dataclasses.field(), which is no shared default.

from plutino.model.wire_value import wire_value
from plutino.netlink.xfrm.layout import (
    Structure,
    address,
    nested,
    reserved,
    u8,
    u16,
    u32,
)
from plutino.netlink.xfrm.structures import (
    LifetimeConfig,
    LifetimeCurrent,
    UserSaId,
    XfrmId,
    XfrmMark,
    XfrmSelector,
)


@wire_value
class UserTemplate(Structure):
    """``struct xfrm_user_tmpl``: the SA that a policy asks for."""

    id: XfrmId = nested(XfrmId)
    family: int = u16()
    saddr: bytes = address()
    reqid: int = u32()
    mode: int = u8()
    share: int = u8()
    optional: int = u8()
    aalgos: int = u32()
    ealgos: int = u32()
    calgos: int = u32()


@wire_value
class UserPolicyInfo(Structure):
    """``struct xfrm_userpolicy_info``: one policy, but for what attributes say."""

    sel: XfrmSelector = nested(XfrmSelector)
    lft: LifetimeConfig = nested(LifetimeConfig)
    curlft: LifetimeCurrent = nested(LifetimeCurrent)
    priority: int = u32()
    index: int = u32()
    dir: int = u8()
    action: int = u8()
    flags: int = u8()
    share: int = u8()


@wire_value
class UserPolicyId(Structure):
    """``struct xfrm_userpolicy_id``: names a policy by selector or by index."""

    sel: XfrmSelector = nested(XfrmSelector)
    index: int = u32()
    dir: int = u8()


@wire_value
class UserPolicyType(Structure):
    """``struct xfrm_userpolicy_type``: main or sub policy."""

    type: int = u8()
    reserved1: int = reserved("H")
    reserved2: int = reserved("B")


@wire_value
class UserPolicyDefault(Structure):
    """``struct xfrm_userpolicy_default``: what happens without a policy, in each direction.

    0 leaves a direction as it is, 1 blocks, 2 accepts.
    """

    in_: int = u8()
    fwd: int = u8()
    out: int = u8()


@wire_value
class UserAcquire(Structure):
    """``struct xfrm_user_acquire``: a policy needs an SA."""

    id: XfrmId = nested(XfrmId)
    saddr: bytes = address()
    sel: XfrmSelector = nested(XfrmSelector)
    policy: UserPolicyInfo = nested(UserPolicyInfo)
    aalgos: int = u32()
    ealgos: int = u32()
    calgos: int = u32()
    seq: int = u32()


@wire_value
class UserPolicyExpire(Structure):
    """``struct xfrm_user_polexpire``: a policy has reached a soft or hard limit."""

    pol: UserPolicyInfo = nested(UserPolicyInfo)
    hard: int = u8()


@wire_value
class UserReport(Structure):
    """``struct xfrm_user_report``: a packet that fits no SA selector."""

    proto: int = u8()
    sel: XfrmSelector = nested(XfrmSelector)


@wire_value
class UserMigrate(Structure):
    """``struct xfrm_user_migrate``: the addresses of SAs and templates, before and after."""

    old_daddr: bytes = address()
    old_saddr: bytes = address()
    new_daddr: bytes = address()
    new_saddr: bytes = address()
    proto: int = u8()
    mode: int = u8()
    reserved: int = reserved("H")
    reqid: int = u32()
    old_family: int = u16()
    new_family: int = u16()


@wire_value
class UserMigrateState(Structure):
    """``struct xfrm_user_migrate_state``: moves one SA (since Linux 7.2)."""

    id: UserSaId = nested(UserSaId)
    new_daddr: bytes = address()
    new_saddr: bytes = address()
    old_mark: XfrmMark = nested(XfrmMark)
    new_sel: XfrmSelector = nested(XfrmSelector)
    new_reqid: int = u32()
    flags: int = u32()
    new_family: int = u16()
    reserved: int = reserved("H")


@wire_value
class SpdInfo(Structure):
    """``struct xfrmu_spdinfo``: numbers of policies, then of socket policies."""

    incnt: int = u32()
    outcnt: int = u32()
    fwdcnt: int = u32()
    inscnt: int = u32()
    outscnt: int = u32()
    fwdscnt: int = u32()


@wire_value
class SpdHashInfo(Structure):
    """``struct xfrmu_spdhinfo``: hash buckets, now and at most."""

    spdhcnt: int = u32()
    spdhmcnt: int = u32()


@wire_value
class SpdHashThreshold(Structure):
    """``struct xfrmu_spdhthresh``: from which prefix lengths on policies are hashed."""

    lbits: int = u8()
    rbits: int = u8()


@wire_value
class InfoFlags(Structure):
    """The ``__u32`` that opens GETSADINFO, GETSPDINFO and their replies."""

    flags: int = u32()
