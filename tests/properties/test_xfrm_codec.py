"""The codec is total and exact: any bytes give a value or a WireError, any value its bytes."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from plutino.model.algorithms import AeadKey
from plutino.model.errors import WireError
from plutino.model.numbers import U32_MAX, IfId, Mark, ReqId, Spi
from plutino.model.policy import Action, Direction, Mode, Policy, Selector, Template
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation, UdpEncapsulation
from plutino.model.secret import Secret
from plutino.netlink.wire import (
    NLM_F_DUMP,
    Acknowledgement,
    Attribute,
    Message,
    encode_attributes,
    parse_attributes,
    parse_messages,
)
from plutino.netlink.xfrm import structures, structures_policy
from plutino.netlink.xfrm.convert import parse_policy, parse_sa, policy_message, sa_message
from plutino.netlink.xfrm.layout import Structure, layout
from plutino.netlink.xfrm.messages import FORMS, XfrmMessage

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, U32_MAX)
ADDRESS4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ADDRESS6 = st.integers(0, 2**128 - 1).map(IPv6Address)
NETWORK4 = st.builds(lambda a, p: IPv4Network((a, p), strict=False), ADDRESS4, st.integers(0, 32))
NETWORK6 = st.builds(lambda a, p: IPv6Network((a, p), strict=False), ADDRESS6, st.integers(0, 128))
MARKS = st.builds(Mark, U32, U32)
KINDS = st.sampled_from(sorted(FORMS))
STRUCTURES = sorted(
    {
        value
        for module in (structures, structures_policy)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Structure) and value is not Structure
    },
    key=lambda kind: kind.__name__,
)


def selectors(network: st.SearchStrategy[IPv4Network | IPv6Network]) -> st.SearchStrategy[Selector]:
    """Selectors of one family."""
    ports = (U16, U16, U16, U16)
    return st.builds(Selector, network, network, U8, *ports, st.integers(0, 2**31 - 1), U32)


def templates(
    address: st.SearchStrategy[IPv4Address | IPv6Address],
) -> st.SearchStrategy[Template]:
    """Templates of one family."""
    return st.builds(
        Template,
        address,
        address,
        U32.map(ReqId),
        st.sampled_from(Mode),
        U8,
        U32.map(Spi),
        st.booleans(),
    )


POLICIES = st.builds(
    Policy,
    st.sampled_from(Direction),
    st.one_of(selectors(NETWORK4), selectors(NETWORK6)),
    U32.map(IfId),
    st.lists(st.one_of(templates(ADDRESS4), templates(ADDRESS6)), max_size=6).map(tuple),
    U32,
    st.sampled_from(Action),
    st.none() | MARKS,
)


def addresses(version: int) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Addresses of one family."""
    return ADDRESS6 if version == 6 else ADDRESS4


@st.composite
def replays(draw: st.DrawFn) -> ReplayState:
    """A window with the numbers that it has seen."""
    window = draw(st.integers(0, 4096))
    seq = draw(st.integers(window, 2**64 - 1))
    bitmap = draw(st.integers(0, (1 << window) - 1))
    return ReplayState(draw(st.integers(0, 2**64 - 1)), seq, window, bitmap)


@st.composite
def sas(draw: st.DrawFn) -> SecurityAssociation:
    """Any SA that the model can express."""
    address = addresses(6 if draw(st.booleans()) else 4)
    return SecurityAssociation(
        spi=Spi(draw(U32)),
        source=draw(address),
        destination=draw(address),
        reqid=ReqId(draw(U32)),
        if_id=IfId(draw(U32)),
        keys=AeadKey("rfc4106(gcm(aes))", Secret(draw(st.binary(max_size=64))), draw(U32)),
        direction=draw(st.sampled_from(SaDirection)),
        mode=draw(st.sampled_from(Mode)),
        protocol=draw(U8),
        output_mark=draw(st.none() | MARKS),
        encapsulation=draw(st.none() | st.builds(UdpEncapsulation, U16, U16)),
        esn=draw(st.booleans()),
        replay=draw(replays()),
    )


def through_the_wire(message: XfrmMessage) -> XfrmMessage:
    """Encoded, framed, taken apart and parsed."""
    framed = Message(message.kind, 0, 1, 0, message.encode()).encode()
    (received,) = parse_messages(framed)
    return XfrmMessage.parse(received)


@given(POLICIES)
def test_a_policy_survives_the_wire(policy: Policy) -> None:
    assert parse_policy(through_the_wire(policy_message(policy))) == policy


@given(sas())
def test_an_sa_survives_the_wire(sa: SecurityAssociation) -> None:
    pair = parse_sa(through_the_wire(sa_message(sa)))
    assert pair is not None
    assert pair[0] == sa


@given(st.sampled_from(STRUCTURES), st.data())
def test_a_structure_is_packed_at_once_as_member_by_member(
    kind: type[Structure], data: st.DataObject
) -> None:
    size = kind.size()
    value = kind.parse(data.draw(st.binary(min_size=size, max_size=size)))
    expected = bytearray(size)
    for name, (offset, member) in layout(kind).members.items():
        expected[offset : offset + member.size] = member.pack(getattr(value, name))
    assert value.encode() == expected
    assert kind.parse(value.encode()) == value


@given(KINDS, st.sampled_from((0, NLM_F_DUMP)), st.binary(max_size=700))
def test_any_bytes_give_a_message_or_a_wire_error(kind: int, flags: int, octets: bytes) -> None:
    try:
        parsed = XfrmMessage.parse(Message(kind, flags, 1, 0, octets))
    except WireError:
        return
    parsed.encode()
    parse_sa(parsed)
    parse_policy(parsed)


@given(sas(), POLICIES, st.data())
def test_every_truncation_gives_a_message_or_a_wire_error(
    sa: SecurityAssociation, policy: Policy, data: st.DataObject
) -> None:
    for message in (sa_message(sa), policy_message(policy)):
        octets = message.encode()
        cut = data.draw(st.integers(0, len(octets) - 1))
        try:
            parsed = XfrmMessage.parse(Message(message.kind, 0, 1, 0, octets[:cut]))
        except WireError:
            continue
        assert parsed.fixed == message.fixed
        assert parsed.attributes == message.attributes[: len(parsed.attributes)]


@given(POLICIES, U16.filter(lambda number: number & 0x3FFF > 100), st.binary(max_size=40))
def test_an_unknown_attribute_keeps_its_octets_and_place(
    policy: Policy, number: int, octets: bytes
) -> None:
    message = policy_message(policy)
    unknown = Attribute(number, octets)
    fixed = FORMS[message.kind].fixed
    assert fixed is not None
    head = message.encode()[: fixed.size()]
    payload = head + encode_attributes([unknown]) + message.encode()[fixed.size() :]
    parsed = XfrmMessage.parse(Message(message.kind, 0, 1, 0, payload))
    assert parsed.encode() == payload
    assert parse_policy(parsed) == policy


@given(st.binary(max_size=300), U16)
def test_framing_is_total(octets: bytes, flags: int) -> None:
    for parse in (
        lambda: parse_messages(octets),
        lambda: parse_attributes(octets, what="x"),
        lambda: Acknowledgement.parse(Message(2, flags, 1, 0, octets)),
        lambda: Acknowledgement.parse(Message(3, flags, 1, 0, octets)),
    ):
        try:
            parse()
        except WireError as error:
            assert 0 <= error.offset <= len(octets)  # noqa: PT017
