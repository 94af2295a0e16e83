"""Model values to XFRM messages and back.

An SA or policy of others may hold what the model has no word for (AH, CBC with HMAC, socket
policies, IP-TFS). Such a one cannot be ours; it gives None and is left alone.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final

from plutino.model.algorithms import AeadKey, SaKeys, SeparateKeys
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import (
    Action,
    Direction,
    IpAddress,
    IpNetwork,
    Mode,
    Policy,
    Selector,
    Template,
)
from plutino.model.sa import (
    Lifetime,
    Offload,
    OffloadMode,
    SaDirection,
    SaName,
    SaUse,
    SecurityAssociation,
    UdpEncapsulation,
)
from plutino.netlink.xfrm.attributes import AeadAlgorithm, Algorithm, AuthAlgorithm
from plutino.netlink.xfrm.constants import (
    POLICY_TYPE_MAIN,
    UDP_ENCAP_ESPINUDP,
    MessageType,
    OffloadFlag,
    SaFlag,
    Xfrma,
)
from plutino.netlink.xfrm.layout import ADDRESS_SIZE
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.replay import parse_replay, replay_attribute
from plutino.netlink.xfrm.structures import (
    UNLIMITED,
    XFRM_INF,
    AlgorithmHeader,
    AuthHeader,
    EncapTemplate,
    LifetimeConfig,
    UserOffload,
    UserSaId,
    UserSaInfo,
    XfrmId,
    XfrmMark,
    XfrmSelector,
)
from plutino.netlink.xfrm.structures_policy import (
    UserPolicyId,
    UserPolicyInfo,
    UserPolicyType,
    UserTemplate,
)

_ANY: Final[dict[int, IpNetwork]] = {
    socket.AF_INET: IPv4Network("0.0.0.0/0"),
    socket.AF_INET6: IPv6Network("::/0"),
}
_ALL_ALGORITHMS: Final = 0xFFFFFFFF
"""A template that admits every algorithm of each kind."""


def encode_address(value: IpAddress) -> bytes:
    """``xfrm_address_t``; an IPv4 address stands in the first 4 bytes."""
    return value.packed.ljust(ADDRESS_SIZE, b"\0")


def parse_address(octets: bytes, family: int) -> IpAddress:
    """From ``xfrm_address_t``; ValueError for a family that is neither IPv4 nor IPv6."""
    if family == socket.AF_INET:
        return IPv4Address(octets[:4])
    if family == socket.AF_INET6:
        return IPv6Address(octets)
    raise ValueError(f"address family {family} is neither IPv4 nor IPv6")


def family_of(value: IpAddress | IpNetwork) -> int:
    """AF_INET or AF_INET6."""
    return int(socket.AF_INET if value.version == 4 else socket.AF_INET6)


def sa_message(sa: SecurityAssociation, kind: MessageType = MessageType.NEWSA) -> XfrmMessage:
    """NEWSA or UPDSA of an SA."""
    flags = SaFlag.ESN if sa.esn else SaFlag(0)
    selector = XfrmSelector()
    if sa.selector is not None:
        selector = encode_selector(sa.selector)
    elif sa.mode is Mode.TUNNEL:
        # One SA carries both inner families; the kernel would assume the outer one otherwise.
        flags |= SaFlag.AF_UNSPEC
    else:
        selector = XfrmSelector(family=family_of(sa.destination))
    info = UserSaInfo(
        sel=selector,
        id=XfrmId(encode_address(sa.destination), sa.spi, sa.protocol),
        saddr=encode_address(sa.source),
        lft=_encode_lifetime(sa.lifetime),
        reqid=sa.reqid,
        family=family_of(sa.destination),
        mode=sa.mode,
        flags=flags,
    )
    attributes: list[tuple[int, Any]] = [
        *_encode_keys(sa.keys),
        (Xfrma.REPLAY_ESN_VAL, replay_attribute(sa.replay)),
        (Xfrma.SA_DIR, int(sa.direction)),
        *_mark_attribute(sa.mark),
    ]
    if sa.encapsulation is not None:
        template = EncapTemplate(
            encap_type=UDP_ENCAP_ESPINUDP,
            encap_sport=sa.encapsulation.source_port,
            encap_dport=sa.encapsulation.destination_port,
        )
        attributes.append((Xfrma.ENCAP, template))
    if sa.output_mark is not None:
        attributes.append((Xfrma.SET_MARK, sa.output_mark.value))
        attributes.append((Xfrma.SET_MARK_MASK, sa.output_mark.mask))
    if sa.offload is not None:
        attributes.append((Xfrma.OFFLOAD_DEV, _encode_offload(sa.offload, sa.direction)))
    if sa.nat_keepalive:
        attributes.append((Xfrma.NAT_KEEPALIVE_INTERVAL, sa.nat_keepalive))
    if sa.cpu is not None:
        attributes.append((Xfrma.SA_PCPU, sa.cpu))
    attributes += _if_id_attribute(sa.if_id)
    return XfrmMessage.build(kind, info, attributes)


def sa_id_message(sa: SecurityAssociation, kind: MessageType = MessageType.DELSA) -> XfrmMessage:
    """DELSA or GETSA: the SA's identity alone."""
    name = SaName(sa.destination, sa.spi, sa.mark, sa.protocol)
    return sa_name_message(name, kind)


def sa_name_message(name: SaName, kind: MessageType) -> XfrmMessage:
    """The same by what an SA is found by."""
    family = family_of(name.destination)
    number = UserSaId(encode_address(name.destination), name.spi, family, name.protocol)
    return XfrmMessage.build(kind, number, _mark_attribute(name.mark))


def parse_sa(message: XfrmMessage) -> tuple[SecurityAssociation, SaUse] | None:
    """The SA of a NEWSA, and its use; None if the model has no word for it.

    Kernels before 6.10 know no direction: there an SA without replay window counts as outbound, and
    one with an output mark and the least window, which they want of every SA with ESN.
    """
    info = message.fixed
    keys = _parse_keys(message)
    if not isinstance(info, UserSaInfo) or keys is None:
        return None
    encap = message.find(Xfrma.ENCAP, EncapTemplate)
    if encap is not None and encap.encap_type != UDP_ENCAP_ESPINUDP:
        return None
    replay = parse_replay(message, info)
    output_mark = _parse_output_mark(message)
    direction = message.find(Xfrma.SA_DIR, int)
    if direction is None:
        is_out = replay.window == 0 or (output_mark is not None and replay.window == 1)
        direction = SaDirection.OUT if is_out else SaDirection.IN
    mark = message.find(Xfrma.MARK, XfrmMark)
    offload = message.find(Xfrma.OFFLOAD_DEV, UserOffload)
    try:
        sa = SecurityAssociation(
            spi=Spi(info.id.spi),
            source=parse_address(info.saddr, info.family),
            destination=parse_address(info.id.daddr, info.family),
            reqid=ReqId(info.reqid),
            if_id=IfId(message.find(Xfrma.IF_ID, int) or 0),
            keys=keys,
            direction=SaDirection(direction),
            mode=Mode(info.mode),
            protocol=info.id.proto,
            output_mark=output_mark,
            encapsulation=None
            if encap is None
            else UdpEncapsulation(encap.encap_sport, encap.encap_dport),
            esn=bool(info.flags & SaFlag.ESN),
            replay=replay,
            mark=None if mark is None else Mark(mark.v, mark.m),
            selector=_parse_inner_selector(info),
            offload=None if offload is None else _parse_offload(offload),
            lifetime=_parse_lifetime(info.lft),
            nat_keepalive=message.find(Xfrma.NAT_KEEPALIVE_INTERVAL, int) or 0,
            cpu=message.find(Xfrma.SA_PCPU, int),
        )
    except ValueError:
        return None
    use = SaUse(
        octets=info.curlft.bytes,
        packets=info.curlft.packets,
        added=info.curlft.add_time,
        first_used=info.curlft.use_time,
        last_used=message.find(Xfrma.LASTUSED, int) or 0,
        replay_window_drops=info.stats.replay_window,
        replay_drops=info.stats.replay,
        integrity_failures=info.stats.integrity_failed,
    )
    return sa, use


def policy_message(policy: Policy, kind: MessageType = MessageType.NEWPOLICY) -> XfrmMessage:
    """NEWPOLICY or UPDPOLICY of a policy."""
    info = UserPolicyInfo(
        sel=encode_selector(policy.selector),
        lft=UNLIMITED,
        priority=policy.priority,
        dir=policy.direction,
        action=policy.action,
    )
    attributes: list[tuple[int, Any]] = []
    if policy.templates:
        attributes.append((Xfrma.TMPL, tuple(map(_encode_template, policy.templates))))
    attributes += _mark_attribute(policy.mark)
    attributes += _if_id_attribute(policy.if_id)
    return XfrmMessage.build(kind, info, attributes)


def policy_id_message(policy: Policy, kind: MessageType = MessageType.DELPOLICY) -> XfrmMessage:
    """DELPOLICY or GETPOLICY: direction, selector, mark and if_id."""
    return XfrmMessage.build(
        kind,
        UserPolicyId(sel=encode_selector(policy.selector), dir=policy.direction),
        [*_mark_attribute(policy.mark), *_if_id_attribute(policy.if_id)],
    )


def parse_policy(message: XfrmMessage) -> Policy | None:
    """The policy of a NEWPOLICY; None if the model has no word for it."""
    info = message.fixed
    kind = message.find(Xfrma.POLICY_TYPE, UserPolicyType)
    if not isinstance(info, UserPolicyInfo) or (kind and kind.type != POLICY_TYPE_MAIN):
        return None
    templates: tuple[UserTemplate, ...] = message.find(Xfrma.TMPL, tuple) or ()
    mark = message.find(Xfrma.MARK, XfrmMark)
    try:
        return Policy(
            direction=Direction(info.dir),
            selector=parse_selector(info.sel),
            if_id=IfId(message.find(Xfrma.IF_ID, int) or 0),
            templates=tuple(map(_parse_template, templates)),
            priority=info.priority,
            action=Action(info.action),
            mark=None if mark is None else Mark(mark.v, mark.m),
        )
    except ValueError:
        return None


def encode_selector(selector: Selector) -> XfrmSelector:
    """``struct xfrm_selector`` of a selector."""
    return XfrmSelector(
        daddr=encode_address(selector.destination.network_address),
        saddr=encode_address(selector.source.network_address),
        dport=selector.destination_port,
        dport_mask=selector.destination_port_mask,
        sport=selector.source_port,
        sport_mask=selector.source_port_mask,
        family=family_of(selector.source),
        prefixlen_d=selector.destination.prefixlen,
        prefixlen_s=selector.source.prefixlen,
        proto=selector.protocol,
        ifindex=selector.ifindex,
        user=selector.user,
    )


def parse_selector(wire: XfrmSelector) -> Selector:
    """A selector of one family; ValueError if there is none or a prefix has host bits."""
    return Selector(
        source=_parse_network(wire.saddr, wire.prefixlen_s, wire.family),
        destination=_parse_network(wire.daddr, wire.prefixlen_d, wire.family),
        protocol=wire.proto,
        source_port=wire.sport,
        source_port_mask=wire.sport_mask,
        destination_port=wire.dport,
        destination_port_mask=wire.dport_mask,
        ifindex=wire.ifindex,
        user=wire.user,
    )


def _parse_network(octets: bytes, length: int, family: int) -> IpNetwork:
    value = parse_address(octets, family)
    if isinstance(value, IPv4Address):
        return IPv4Network((value, length))
    return IPv6Network((value, length))


def _encode_template(template: Template) -> UserTemplate:
    return UserTemplate(
        id=XfrmId(encode_address(template.destination), template.spi, template.protocol),
        family=family_of(template.destination),
        saddr=encode_address(template.source),
        reqid=template.reqid,
        mode=template.mode,
        optional=int(template.optional),
        aalgos=_ALL_ALGORITHMS,
        ealgos=_ALL_ALGORITHMS,
        calgos=_ALL_ALGORITHMS,
    )


def _parse_template(wire: UserTemplate) -> Template:
    return Template(
        source=parse_address(wire.saddr, wire.family),
        destination=parse_address(wire.id.daddr, wire.family),
        reqid=ReqId(wire.reqid),
        mode=Mode(wire.mode),
        protocol=wire.id.proto,
        spi=Spi(wire.id.spi),
        optional=bool(wire.optional),
    )


def _mark_attribute(mark: Mark | None) -> list[tuple[int, Any]]:
    return [] if mark is None else [(Xfrma.MARK, XfrmMark(mark.value, mark.mask))]


def _if_id_attribute(if_id: IfId) -> list[tuple[int, Any]]:
    return [(Xfrma.IF_ID, int(if_id))] if if_id else []


def _parse_output_mark(message: XfrmMessage) -> Mark | None:
    value = message.find(Xfrma.SET_MARK, int)
    if value is None:
        return None
    mask = message.find(Xfrma.SET_MARK_MASK, int)
    return Mark(value) if mask is None else Mark(value, mask)


def _encode_keys(keys: SaKeys) -> list[tuple[int, Any]]:
    if isinstance(keys, AeadKey):
        return [(Xfrma.ALG_AEAD, AeadAlgorithm.of(keys.kernel_name, keys.keymat, keys.icv_bits))]
    crypt = AlgorithmHeader(keys.encryption, 8 * len(keys.encryption_key))
    auth = AuthHeader(keys.integrity, 8 * len(keys.integrity_key), keys.icv_bits)
    return [
        (Xfrma.ALG_AUTH_TRUNC, AuthAlgorithm(auth, keys.integrity_key)),
        (Xfrma.ALG_CRYPT, Algorithm(crypt, keys.encryption_key)),
    ]


def _parse_keys(message: XfrmMessage) -> SaKeys | None:
    aead = message.find(Xfrma.ALG_AEAD, AeadAlgorithm)
    if aead is not None:
        header = aead.header
        return AeadKey(header.alg_name, aead.key, getattr(header, "alg_icv_len", 0))
    crypt = message.find(Xfrma.ALG_CRYPT, Algorithm)
    auth = message.find(Xfrma.ALG_AUTH_TRUNC, AuthAlgorithm)
    if crypt is None or auth is None:
        return None
    bits = getattr(auth.header, "alg_trunc_len", 0)
    return SeparateKeys(crypt.header.alg_name, crypt.key, auth.header.alg_name, auth.key, bits)


def _encode_lifetime(lifetime: Lifetime) -> LifetimeConfig:
    return LifetimeConfig(
        soft_byte_limit=_limit(lifetime.soft_octets),
        hard_byte_limit=_limit(lifetime.hard_octets),
        soft_packet_limit=_limit(lifetime.soft_packets),
        hard_packet_limit=_limit(lifetime.hard_packets),
        soft_add_expires_seconds=lifetime.soft_seconds or 0,
        hard_add_expires_seconds=lifetime.hard_seconds or 0,
    )


def _limit(number: int | None) -> int:
    return XFRM_INF if number is None else number


def _parse_lifetime(wire: LifetimeConfig) -> Lifetime:
    """Limits by the time of first use, which we never set, have no word in the model."""

    def of(number: int) -> int | None:
        return None if number == XFRM_INF else number

    return Lifetime(
        of(wire.soft_byte_limit),
        of(wire.hard_byte_limit),
        of(wire.soft_packet_limit),
        of(wire.hard_packet_limit),
        wire.soft_add_expires_seconds or None,
        wire.hard_add_expires_seconds or None,
    )


def _encode_offload(offload: Offload, direction: SaDirection) -> UserOffload:
    flags = OffloadFlag(0)
    if direction is SaDirection.IN:
        flags |= OffloadFlag.INBOUND
    if offload.mode is OffloadMode.PACKET:
        flags |= OffloadFlag.PACKET
    return UserOffload(offload.ifindex, flags)


def _parse_offload(wire: UserOffload) -> Offload:
    is_packet = wire.flags & OffloadFlag.PACKET
    return Offload(wire.ifindex, OffloadMode.PACKET if is_packet else OffloadMode.CRYPTO)


def _parse_inner_selector(info: UserSaInfo) -> Selector | None:
    """None where it restricts nothing, or is of no family; the kernel fills in the outer family."""
    if info.sel.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    selector = parse_selector(info.sel)
    everything = Selector(_ANY[info.sel.family], _ANY[info.sel.family])
    return None if selector == everything else selector
