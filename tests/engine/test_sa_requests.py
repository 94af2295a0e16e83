"""Requests about SAs: what the engine refuses and in which words, what it tells again, and the life
of an SA, all as ``net/xfrm/xfrm_user.c`` and ``xfrm_state.c`` have it."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.model.errors import KernelError
from plutino.model.secret import Secret
from plutino.netlink.socket import NetlinkSocket
from plutino.netlink.wire import NLM_F_DUMP
from plutino.netlink.xfrm.attributes import AeadAlgorithm, Algorithm, AuthAlgorithm, ReplayEsn
from plutino.netlink.xfrm.constants import Group, MessageType, SaExtraFlag, SaFlag, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import (
    UNLIMITED,
    AddressFilter,
    AeventId,
    AlgorithmHeader,
    AuthHeader,
    EncapTemplate,
    LifetimeCurrent,
    ReplayEsnHeader,
    ReplayState,
    SecurityContextHeader,
    UserExpire,
    UserOffload,
    UserSaFlush,
    UserSaId,
    UserSaInfo,
    UserSpiInfo,
    XfrmId,
    XfrmMark,
    XfrmSelector,
)
from plutino.netlink.xfrm.structures_policy import (
    UserAcquire,
    UserMigrateState,
    UserPolicyInfo,
    UserTemplate,
)
from tests.support.engine import engine_process

LOCAL, REMOTE, ELSEWHERE = (
    ip_address(text).packed + bytes(12) for text in ("192.0.2.1", "198.51.100.2", "203.0.113.3")
)
NLM_F_REPLACE = 0x100
AEAD = AeadAlgorithm.of("rfc4106(gcm(aes))", Secret(bytes(range(20))), 128)
ENCAP = EncapTemplate(2, 4500, 4500, bytes(16))
INFO = UserSaInfo(
    sel=XfrmSelector(),
    id=XfrmId(REMOTE, 0x1000, 50),
    saddr=LOCAL,
    lft=UNLIMITED,
    reqid=7,
    family=2,
    mode=1,
    flags=SaFlag.AF_UNSPEC,
)
ID = UserSaId(REMOTE, 0x1000, 2, 50)
Attributes = tuple[tuple[int, Any], ...]


def crypt(name: str, octets: int) -> Algorithm:
    return Algorithm(AlgorithmHeader(name, octets * 8), Secret(bytes(octets)))


def auth(name: str, octets: int, bits: int) -> AuthAlgorithm:
    return AuthAlgorithm(AuthHeader(name, octets * 8, bits), Secret(b"\1" * octets))


def esn(window: int, words: int, oseq: int = 0, seq: int = 0) -> ReplayEsn:
    low, high = 0xFFFFFFFF, 32
    header = ReplayEsnHeader(words, oseq & low, seq & low, oseq >> high, seq >> high, window)
    return ReplayEsn(header, (0,) * words)


class Engine:
    """Messages to one engine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = NetlinkSocket.engine(path)

    def ask(
        self, kind: MessageType, fixed: Any, attributes: Attributes = (), flags: int = 0
    ) -> tuple[XfrmMessage, ...]:
        payload = XfrmMessage.build(kind, fixed, attributes).encode()
        replies = self.socket.request(kind.name, kind, payload, flags=flags)
        return tuple(XfrmMessage.parse(reply) for reply in replies)

    def add(
        self, info: UserSaInfo = INFO, attributes: Attributes = ((Xfrma.ALG_AEAD, AEAD),)
    ) -> None:
        self.ask(MessageType.NEWSA, info, attributes)

    def get(self, name: UserSaId = ID, attributes: Attributes = ()) -> XfrmMessage:
        (reply,) = self.ask(MessageType.GETSA, name, attributes)
        return reply

    def dump(self, attributes: Attributes = ()) -> tuple[XfrmMessage, ...]:
        message = XfrmMessage.build(MessageType.GETSA, None, attributes)
        payload = replace(message, is_dump=True).encode()
        replies = self.socket.request("dump", MessageType.GETSA, payload, flags=NLM_F_DUMP)
        return tuple(map(XfrmMessage.parse, replies))

    def listen(self, *groups: Group) -> NetlinkSocket:
        client = EngineClient(self.path)
        client.join(sum(group.bit for group in groups))
        return client.socket

    def refused(
        self, kind: MessageType, fixed: Any, attributes: Attributes = (), flags: int = 0
    ) -> tuple[int, str | None]:
        with pytest.raises(KernelError) as caught:
            self.ask(kind, fixed, attributes, flags)
        return caught.value.errno, caught.value.extack


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with engine_process(tmp_path_factory.mktemp("engine")) as path:
        yield path


@pytest.fixture
def engine(running: Path) -> Iterator[Engine]:
    engine = Engine(running)
    engine.ask(MessageType.FLUSHSA, UserSaFlush(0))
    yield engine
    engine.socket.close()


def heard(socket: NetlinkSocket) -> XfrmMessage:
    (message,) = socket.receive(5)
    return XfrmMessage.parse(message)


ONE = ((Xfrma.ALG_AEAD, AEAD),)
OUT, IN = ((Xfrma.SA_DIR, 2),), ((Xfrma.SA_DIR, 1),)
SEPARATE = (
    (Xfrma.ALG_CRYPT, crypt("cbc(aes)", 16)),
    (Xfrma.ALG_AUTH_TRUNC, auth("hmac(sha256)", 32, 128)),
)
UNSPEC = SaFlag.AF_UNSPEC
REFUSALS: list[tuple[dict[str, Any], Attributes, int, str | None]] = [
    ({"family": 3}, ONE, errno.EINVAL, "Invalid address family"),
    (
        {"sel": XfrmSelector(prefixlen_d=33), "flags": 0},
        ONE,
        errno.EINVAL,
        "Invalid prefix length in selector (must be <= 32 for IPv4)",
    ),
    (
        {"sel": XfrmSelector(family=10, prefixlen_s=129)},
        ONE,
        errno.EINVAL,
        "Invalid prefix length in selector (must be <= 128 for IPv6)",
    ),
    ({"sel": XfrmSelector(family=9)}, ONE, errno.EINVAL, "Invalid address family in selector"),
    ({"id": XfrmId(REMOTE, 1, 17)}, ONE, errno.EINVAL, "Unsupported protocol"),
    (
        {"id": XfrmId(REMOTE, 1, 51)},
        ONE,
        errno.EINVAL,
        "Missing required attribute for AH: AUTH_TRUNC or AUTH",
    ),
    (
        {"id": XfrmId(REMOTE, 1, 51)},
        SEPARATE[1:],
        errno.EPROTONOSUPPORT,
        "Requested type not found",
    ),
    (
        {},
        (),
        errno.EINVAL,
        "Missing required attribute for ESP: at least one of AUTH, AUTH_TRUNC, CRYPT, AEAD",
    ),
    (
        {},
        ONE + SEPARATE,
        errno.EINVAL,
        "Invalid attribute combination for ESP: AEAD can't be used with AUTH, AUTH_TRUNC, CRYPT",
    ),
    (
        {"mode": 0},
        (*ONE, (Xfrma.TFCPAD, 9)),
        errno.EINVAL,
        "TFC padding can only be used in tunnel mode",
    ),
    ({"mode": 5}, ONE, errno.EINVAL, "Unsupported mode"),
    ({"mode": 2}, ONE, errno.EPROTONOSUPPORT, "Requested mode not found"),
    (
        {"mode": 0, "sel": XfrmSelector(family=10)},
        ONE,
        errno.EPROTONOSUPPORT,
        "Only tunnel modes can accommodate a change of family",
    ),
    ({}, SEPARATE[1:], errno.EINVAL, "ESP: AEAD or CRYPT must be provided"),
    (
        {},
        ((Xfrma.ALG_AEAD, AeadAlgorithm.of("gcm(x)", Secret(bytes(20)), 128)),),
        errno.ENOSYS,
        "Requested AEAD algorithm not found",
    ),
    (
        {},
        ((Xfrma.ALG_CRYPT, crypt("cbc(x)", 16)), SEPARATE[1]),
        errno.ENOSYS,
        "Requested CRYPT algorithm not found",
    ),
    (
        {},
        (SEPARATE[0], (Xfrma.ALG_AUTH_TRUNC, auth("hmac(x)", 16, 96))),
        errno.ENOSYS,
        "Requested AUTH_TRUNC algorithm not found",
    ),
    (
        {},
        (SEPARATE[0], (Xfrma.ALG_AUTH, crypt("hmac(x)", 16))),
        errno.ENOSYS,
        "Requested AUTH algorithm not found",
    ),
    (
        {},
        (SEPARATE[0], (Xfrma.ALG_AUTH_TRUNC, auth("hmac(sha256)", 32, 257))),
        errno.EINVAL,
        "Invalid length requested for truncated ICV",
    ),
    (
        {},
        ((Xfrma.ALG_AEAD, AeadAlgorithm.of("rfc4106(gcm(aes))", Secret(bytes(21)), 128)),),
        errno.EINVAL,
        "Kernel was unable to initialize cryptographic operations",
    ),
    (
        {},
        (*ONE, (Xfrma.ENCAP, replace(ENCAP, encap_type=7))),
        errno.EINVAL,
        "Unsupported encapsulation type for ESP",
    ),
    (
        {},
        (*ONE, (Xfrma.OFFLOAD_DEV, UserOffload(1, 0))),
        errno.EINVAL,
        "Type doesn't support offload",
    ),
    (
        {},
        (*ONE, (Xfrma.NAT_KEEPALIVE_INTERVAL, 9)),
        errno.EINVAL,
        "NAT keepalive is only supported for outbound SAs",
    ),
    (
        {},
        ONE + OUT + ((Xfrma.NAT_KEEPALIVE_INTERVAL, 9),),
        errno.EINVAL,
        "NAT keepalive is only supported for UDP encapsulation",
    ),
    (
        {},
        (*ONE, (Xfrma.MTIMER_THRESH, 9)),
        errno.EINVAL,
        "MTIMER_THRESH attribute can only be set on ENCAP states",
    ),
    (
        {},
        ONE + OUT + ((Xfrma.ENCAP, ENCAP), (Xfrma.MTIMER_THRESH, 9)),
        errno.EINVAL,
        "MTIMER_THRESH attribute should not be set on output SA",
    ),
    ({"flags": SaFlag.ESN}, ONE, errno.EINVAL, "Missing required attribute for ESN"),
    (
        {"replay_window": 32},
        (*ONE, (Xfrma.REPLAY_ESN_VAL, esn(32, 1))),
        errno.EINVAL,
        "ESN not compatible with legacy replay_window",
    ),
    (
        {},
        (*ONE, (Xfrma.REPLAY_ESN_VAL, esn(33, 1))),
        errno.EINVAL,
        "ESN replay window is too large for the chosen bitmap size",
    ),
    (
        {"flags": SaFlag.ESN},
        (*ONE, (Xfrma.REPLAY_ESN_VAL, esn(0, 1))),
        errno.EINVAL,
        "ESN replay window must be > 0",
    ),
    ({"replay_window": 1}, ONE + OUT, errno.EINVAL, "Replay window should be 0 for output SA"),
    (
        {},
        ONE + OUT + ((Xfrma.REPLAY_ESN_VAL, esn(32, 1)),),
        errno.EINVAL,
        "Replay window should be 0 for output SA",
    ),
    (
        {},
        ONE + OUT + ((Xfrma.REPLAY_ESN_VAL, esn(0, 1, seq=1)),),
        errno.EINVAL,
        "Replay seq and seq_hi should be 0 for output SA",
    ),
    (
        {},
        ONE + OUT + ((Xfrma.REPLAY_ESN_VAL, esn(0, 1)),),
        errno.EINVAL,
        "Replay bmp_len should 0 for output SA",
    ),
    (
        {},
        ONE + OUT + ((Xfrma.REPLAY_ESN_VAL, esn(0, 0, oseq=1 << 32)),),
        errno.EINVAL,
        "Replay oseq_hi should be 0 in non-ESN mode for output SA",
    ),
    (
        {},
        ONE + OUT + ((Xfrma.REPLAY_VAL, ReplayState(0, 1, 0)),),
        errno.EINVAL,
        "Replay seq and bitmap should be 0 for output SA",
    ),
    (
        {},
        ONE + IN + ((Xfrma.REPLAY_ESN_VAL, esn(32, 1, oseq=1)),),
        errno.EINVAL,
        "Replay oseq and oseq_hi should be 0 for input SA",
    ),
    (
        {},
        ONE + IN + ((Xfrma.REPLAY_ESN_VAL, esn(32, 1, seq=1 << 32)),),
        errno.EINVAL,
        "Replay seq_hi should be 0 in non-ESN mode for input SA",
    ),
    *(
        (
            {"flags": flag},
            ONE + way,
            errno.EINVAL,
            f"Flag {flag.name} should not be set for {end} SA",
        )
        for way, end, flags in (
            (OUT, "output", (SaFlag.DECAP_DSCP, SaFlag.ICMP, SaFlag.WILDRECV)),
            (IN, "input", (SaFlag.NOPMTUDISC,)),
        )
        for flag in flags
    ),
    *(
        (
            {},
            (*ONE, *IN, (Xfrma.SA_EXTRA_FLAGS, int(flag))),
            errno.EINVAL,
            f"Flag {flag.name} should not be set for input SA",
        )
        for flag in SaExtraFlag
    ),
    ({}, (*ONE, (Xfrma.SA_PCPU, 0)), errno.EINVAL, "SA_PCPU only supported with SA_DIR"),
    ({}, ONE + OUT + ((Xfrma.SA_PCPU, 1 << 20),), errno.ERANGE, "pCPU number too big"),
    ({}, (*ONE, (Xfrma.SA_DIR, 3)), errno.ERANGE, "integer out of range"),
]


@pytest.mark.parametrize(("changes", "attributes", "number", "words"), REFUSALS)
@pytest.mark.parametrize("kind", [MessageType.NEWSA, MessageType.UPDSA])
def test_refusals(
    engine: Engine,
    kind: MessageType,
    changes: dict[str, Any],
    attributes: Attributes,
    number: int,
    words: str | None,
) -> None:
    assert engine.refused(kind, replace(INFO, **changes), attributes) == (number, words)
    assert engine.dump() == ()


@pytest.mark.parametrize(
    ("attribute", "length", "number", "words"),
    [
        (Xfrma.ALG_AEAD, 71, errno.ERANGE, "Attribute failed policy validation"),
        (Xfrma.MARK, 7, errno.ERANGE, "Attribute failed policy validation"),
        (Xfrma.IF_ID, 3, errno.ERANGE, "Attribute failed policy validation"),
        (Xfrma.SA_DIR, 2, errno.EINVAL, "invalid attribute length"),
        (Xfrma.SA_PCPU, 8, errno.EINVAL, "invalid attribute length"),
    ],
)
def test_attributes_of_a_wrong_length(
    engine: Engine, attribute: int, length: int, number: int, words: str
) -> None:
    payload = XfrmMessage.build(MessageType.NEWSA, INFO).encode()
    octets = (4 + length).to_bytes(2, "little") + attribute.to_bytes(2, "little") + bytes(length)
    with pytest.raises(KernelError) as caught:
        engine.socket.request("add", MessageType.NEWSA, payload + octets)
    assert (caught.value.errno, caught.value.extack) == (number, words)


@pytest.mark.parametrize(
    "kind",
    [
        MessageType.NEWSA,
        MessageType.UPDSA,
        MessageType.DELSA,
        MessageType.GETSA,
        MessageType.ALLOCSPI,
        MessageType.ACQUIRE,
        MessageType.EXPIRE,
        MessageType.FLUSHSA,
        MessageType.NEWAE,
        MessageType.GETAE,
        MessageType.GETSADINFO,
        MessageType.MIGRATE_STATE,
    ],
)
def test_a_short_request(engine: Engine, kind: MessageType) -> None:
    with pytest.raises(KernelError) as caught:
        engine.socket.request("ask", kind, b"")
    assert (caught.value.errno, caught.value.extack) == (errno.EINVAL, "Invalid header length")


ALGORITHMS: list[Attributes] = [
    *(
        ((Xfrma.ALG_AEAD, AeadAlgorithm.of(name, Secret(bytes(range(octets))), bits)),)
        for name, octets, bits in (
            ("rfc4106(gcm(aes))", 20, 64),
            ("rfc4106(gcm(aes))", 28, 96),
            ("rfc4106(gcm(aes))", 36, 128),
            ("rfc4309(ccm(aes))", 19, 128),
            ("rfc4543(gcm(aes))", 20, 128),
            ("rfc7539esp(chacha20,poly1305)", 36, 128),
        )
    ),
    *(
        ((Xfrma.ALG_CRYPT, crypt(cipher, key)), (Xfrma.ALG_AUTH_TRUNC, auth(mac, octets, bits)))
        for cipher, key in (("cbc(aes)", 32), ("rfc3686(ctr(aes))", 20), ("ecb(cipher_null)", 0))
        for mac, octets, bits in (
            ("hmac(sha1)", 20, 96),
            ("hmac(sha256)", 32, 128),
            ("hmac(sha384)", 48, 192),
            ("hmac(sha512)", 64, 256),
            ("xcbc(aes)", 16, 96),
            ("cmac(aes)", 16, 96),
        )
    ),
]


@pytest.mark.parametrize("attributes", ALGORITHMS)
def test_algorithms_come_back(engine: Engine, attributes: Attributes) -> None:
    engine.add(attributes=attributes)
    told = {one.number: one.value for one in engine.get().attributes}
    for number, value in attributes:
        assert told[number] == value
    if Xfrma.ALG_AUTH_TRUNC in told:
        assert told[Xfrma.ALG_AUTH].header.alg_name == told[Xfrma.ALG_AUTH_TRUNC].header.alg_name


def test_integrity_without_a_length_gets_the_kernels(engine: Engine) -> None:
    engine.add(attributes=(SEPARATE[0], (Xfrma.ALG_AUTH, crypt("hmac(sha256)", 32))))
    told = engine.get().find(Xfrma.ALG_AUTH_TRUNC, AuthAlgorithm)
    assert told is not None
    assert told.header == AuthHeader("hmac(sha256)", 256, 96)


EVERYTHING: Attributes = (
    (Xfrma.SA_EXTRA_FLAGS, 3),
    (Xfrma.COADDR, ELSEWHERE),
    (Xfrma.ALG_AEAD, AEAD),
    (Xfrma.ENCAP, EncapTemplate(2, 1000, 4500, ELSEWHERE)),
    (Xfrma.TFCPAD, 100),
    (Xfrma.MARK, XfrmMark(0x12, 0xFF)),
    (Xfrma.SET_MARK, 5),
    (Xfrma.SET_MARK_MASK, 0xF),
    (Xfrma.REPLAY_ESN_VAL, esn(0, 0, oseq=(1 << 40) + 3)),
    (Xfrma.IF_ID, 9),
    (Xfrma.SA_PCPU, 0),
    (Xfrma.SA_DIR, 2),
    (Xfrma.NAT_KEEPALIVE_INTERVAL, 20),
)


def test_every_attribute_comes_back_in_the_kernels_order(engine: Engine) -> None:
    limits = replace(
        UNLIMITED, soft_byte_limit=10, hard_packet_limit=20, hard_add_expires_seconds=99
    )
    info = replace(INFO, flags=SaFlag.AF_UNSPEC | SaFlag.ESN | SaFlag.NOECN, lft=limits, seq=77)
    engine.add(info, EVERYTHING)
    reply = engine.get(ID, ((Xfrma.MARK, XfrmMark(0x12, 0xFFFFFFFF)),))
    assert tuple((one.number, one.value) for one in reply.attributes) == EVERYTHING
    assert isinstance(reply.fixed, UserSaInfo)
    assert replace(reply.fixed, curlft=INFO.curlft) == info
    assert engine.refused(MessageType.GETSA, ID) == (errno.ESRCH, None)


def test_legacy_replay_state_selector_and_times_come_back(engine: Engine) -> None:
    sel = XfrmSelector(ELSEWHERE, LOCAL, 80, 0xFFFF, 1, 0xFF, 2, 32, 24, 6, 0, 0)
    info = replace(INFO, sel=sel, mode=0, replay_window=32, flags=0)
    state, used = ReplayState(9, 40, 0b1011), LifetimeCurrent(1, 2, 1000, 2000)
    attributes = ((Xfrma.ENCAP, ENCAP), (Xfrma.MTIMER_THRESH, 60))
    extra = ((Xfrma.REPLAY_VAL, state), (Xfrma.LTIME_VAL, used))
    engine.add(info, ONE + attributes + extra)
    reply = engine.get()
    assert reply.find(Xfrma.REPLAY_VAL, ReplayState) == state
    assert reply.find(Xfrma.MTIMER_THRESH, int) == 60
    assert reply.fixed == replace(info, curlft=used)


def test_a_security_context_is_measured_and_let_go(engine: Engine) -> None:
    bad = SecurityContextHeader(9, 8, 1, 1, 0).encode()
    payload = XfrmMessage.build(MessageType.NEWSA, INFO, ONE).encode()
    octets = (12).to_bytes(2, "little") + (8).to_bytes(2, "little") + bad
    with pytest.raises(KernelError) as caught:
        engine.socket.request("add", MessageType.NEWSA, payload + octets)
    assert caught.value.extack == "Invalid security context length"


def test_names_that_are_taken_or_not_there(engine: Engine) -> None:
    assert engine.refused(MessageType.UPDSA, INFO, ONE) == (errno.ESRCH, None)
    engine.add()
    assert engine.refused(MessageType.NEWSA, INFO, ONE) == (errno.EEXIST, None)
    # Under the mask of the SA that is there, any mark is its own.
    marked = (*ONE, (Xfrma.MARK, XfrmMark(1, 1)))
    assert engine.refused(MessageType.NEWSA, INFO, marked) == (errno.EEXIST, None)
    engine.ask(MessageType.DELSA, ID)
    for kind in (MessageType.DELSA, MessageType.GETSA):
        assert engine.refused(kind, ID) == (errno.ESRCH, None)
        assert engine.refused(kind, replace(ID, proto=43)) == (errno.EINVAL, None)
        words = "Invalid attribute SA_DIR"
        assert engine.refused(kind, ID, OUT) == (errno.EINVAL, words)


def test_an_update_changes_what_the_kernel_changes(engine: Engine) -> None:
    engine.add(attributes=EVERYTHING[2:5] + EVERYTHING[6:8] + EVERYTHING[9:10])
    before = engine.get()
    other = AeadAlgorithm.of("rfc4106(gcm(aes))", Secret(bytes(20)), 128)
    changed = replace(
        INFO, reqid=99, flags=0, lft=replace(UNLIMITED, soft_byte_limit=5), replay_window=9
    )
    encap = EncapTemplate(2, 7, 8, bytes(16))
    engine.ask(MessageType.UPDSA, changed, ((Xfrma.ALG_AEAD, other), (Xfrma.ENCAP, encap)))
    after = engine.get()
    told = {one.number: one.value for one in after.attributes}
    assert told[Xfrma.ALG_AEAD] == AEAD, "the key stays, and so its sequence numbers may"
    assert (told[Xfrma.ENCAP], told[Xfrma.IF_ID], told[Xfrma.SET_MARK]) == (encap, 9, 5)
    assert isinstance(before.fixed, UserSaInfo)
    assert after.fixed == replace(before.fixed, lft=changed.lft)
    engine.ask(MessageType.UPDSA, INFO, (*ONE, (Xfrma.ENCAP, encap), (Xfrma.IF_ID, 3)))
    assert engine.get().find(Xfrma.IF_ID, int) == 3
    assert engine.refused(MessageType.UPDSA, INFO, ONE) == (errno.EINVAL, None)
    encapsulated = (*ONE, (Xfrma.ENCAP, encap))
    assert engine.refused(MessageType.UPDSA, INFO, encapsulated + OUT) == (errno.ESRCH, None)


def test_dumps_by_protocol_and_address(engine: Engine) -> None:
    engine.add()
    engine.add(replace(INFO, id=XfrmId(ELSEWHERE, 0x2000, 50)))
    assert len(engine.dump()) == 2
    assert engine.dump(((Xfrma.PROTO, 51),)) == ()
    assert len(engine.dump(((Xfrma.PROTO, 255),))) == 2
    one = AddressFilter(LOCAL, ELSEWHERE, 2, 32, 24)
    (found,) = engine.dump(((Xfrma.ADDRESS_FILTER, one),))
    assert isinstance(found.fixed, UserSaInfo)
    assert found.fixed.id.spi == 0x2000
    assert engine.dump(((Xfrma.ADDRESS_FILTER, replace(one, family=10)),)) == ()
    with pytest.raises(KernelError):
        engine.dump(((Xfrma.ADDRESS_FILTER, replace(one, splen=129)),))


def test_spis_are_allocated_and_kept_for_their_sa(engine: Engine) -> None:
    kind = MessageType.ALLOCSPI
    asked = UserSpiInfo(replace(INFO, flags=0, id=XfrmId(REMOTE, 0, 50), seq=5), 0x1000, 0x1000)
    (reply,) = engine.ask(kind, asked, IN)
    assert isinstance(reply.fixed, UserSaInfo)
    assert (reply.fixed.id.spi, reply.fixed.lft.hard_add_expires_seconds) == (0x1000, 30)
    assert reply.find(Xfrma.ALG_AEAD, AeadAlgorithm) is None
    assert engine.get().fixed == reply.fixed
    assert engine.refused(MessageType.NEWSA, INFO, ONE) == (errno.EEXIST, None)
    elsewhere = replace(asked, info=replace(asked.info, id=XfrmId(ELSEWHERE, 0, 50)))
    words = "No SPI available in the requested range"
    assert engine.refused(kind, elsewhere) == (errno.ENOENT, words)
    assert engine.refused(MessageType.UPDSA, INFO, ONE + OUT) == (errno.ESRCH, None)
    engine.ask(MessageType.UPDSA, INFO, ONE + IN)
    assert engine.get().find(Xfrma.ALG_AEAD, AeadAlgorithm) == AEAD
    for changes, words in (
        ({"min": 9, "max": 8}, "Invalid SPI range: min > max"),
        (
            {"info": replace(INFO, id=XfrmId(REMOTE, 0, 17))},
            "Invalid protocol, must be one of AH, ESP, IPCOMP",
        ),
        (
            {"info": replace(INFO, id=XfrmId(REMOTE, 0, 108)), "max": 0x10000},
            "IPCOMP SPI must be <= 65535",
        ),
    ):
        assert engine.refused(kind, replace(asked, **changes)) == (errno.EINVAL, words)


def test_an_sa_takes_the_place_of_the_larval_one_like_it(engine: Engine) -> None:
    template = UserSpiInfo(replace(INFO, flags=0, id=XfrmId(REMOTE, 0, 50)), 9, 5)
    # Refused before anything is made.
    assert engine.refused(MessageType.ALLOCSPI, template)[0] == errno.EINVAL
    assert engine.dump() == ()
    engine.ask(MessageType.ALLOCSPI, replace(template, min=7, max=7))
    engine.ask(MessageType.ALLOCSPI, replace(template, min=8, max=8))
    assert len(engine.dump()) == 2
    unlucky = replace(template, min=7, max=8)
    assert engine.refused(MessageType.ALLOCSPI, unlucky)[0] == errno.ENOENT
    assert len(engine.dump()) == 3, "the larval SA without SPI stays"
    engine.add()
    assert sorted(one.fixed.id.spi for one in engine.dump()) == [7, 8, 0x1000]  # type: ignore[union-attr]


def test_notifications_are_the_kernels(engine: Engine) -> None:
    with engine.listen(Group.SA, Group.EXPIRE, Group.AEVENTS, Group.MIGRATE) as listener:
        engine.add()
        told = heard(listener)
        assert told.kind is MessageType.NEWSA
        assert told.find(Xfrma.ALG_AEAD, AeadAlgorithm) == AEAD
        engine.ask(MessageType.UPDSA, INFO, ONE)
        assert heard(listener).kind is MessageType.UPDSA
        engine.ask(MessageType.EXPIRE, UserExpire(INFO, 0))
        expired = heard(listener)
        assert isinstance(expired.fixed, UserExpire)
        assert (expired.fixed.hard, expired.fixed.state.id) == (0, INFO.id)
        engine.ask(MessageType.DELSA, ID)
        gone = heard(listener)
        assert (gone.kind, gone.fixed) == (MessageType.DELSA, ID)
        assert gone.find(Xfrma.SA, UserSaInfo) is not None
        engine.ask(MessageType.FLUSHSA, UserSaFlush(0))
        engine.add()
        assert heard(listener).kind is MessageType.NEWSA, "of nothing flushed nobody is told"
        engine.ask(MessageType.FLUSHSA, UserSaFlush(50))
        assert heard(listener).fixed == UserSaFlush(50)
        engine.add()
        heard(listener)
        engine.ask(MessageType.EXPIRE, UserExpire(INFO, 1))
        hard = heard(listener)
        assert isinstance(hard.fixed, UserExpire)
        assert hard.fixed.hard == 1
        assert listener.receive(0) == (), "a hard limit is told once, to listeners of EXPIRE"
        assert engine.refused(MessageType.EXPIRE, UserExpire(INFO, 1)) == (errno.ENOENT, None)


def test_limits_that_have_passed_end_an_sa_at_once(engine: Engine) -> None:
    with engine.listen(Group.EXPIRE) as listener:
        limits = replace(UNLIMITED, soft_add_expires_seconds=10, hard_add_expires_seconds=20)
        old = (*ONE, (Xfrma.LTIME_VAL, LifetimeCurrent(0, 0, 1, 0)))
        engine.add(replace(INFO, lft=replace(limits, hard_add_expires_seconds=0)), old)
        soft = heard(listener)
        engine.ask(MessageType.UPDSA, replace(INFO, lft=limits), ONE)
        hard = heard(listener)
        assert isinstance(soft.fixed, UserExpire)
        assert isinstance(hard.fixed, UserExpire)
        assert (soft.fixed.hard, hard.fixed.hard) == (0, 1)
    assert engine.dump() == ()


def test_replay_state_is_asked_for_and_set(engine: Engine) -> None:
    info = replace(INFO, flags=SaFlag.AF_UNSPEC | SaFlag.ESN)
    engine.add(info, (*ONE, (Xfrma.REPLAY_ESN_VAL, esn(64, 2))))
    name = AeventId(ID, LOCAL, 1 | 8, 0)
    (told,) = engine.ask(MessageType.GETAE, name)
    assert told.fixed == AeventId(ID, LOCAL, 9, 7)
    numbers = [one.number for one in told.attributes]
    assert numbers == [
        Xfrma.REPLAY_ESN_VAL,
        Xfrma.LTIME_VAL,
        Xfrma.REPLAY_THRESH,
        Xfrma.ETIMER_THRESH,
    ]
    assert told.find(Xfrma.REPLAY_THRESH, int) == 2
    assert told.find(Xfrma.ETIMER_THRESH, int) == 10
    change = (Xfrma.REPLAY_ESN_VAL, esn(64, 2, oseq=50, seq=9))
    set_to = MessageType.NEWAE
    for attributes, flags, words in (
        ((), NLM_F_REPLACE, "Missing required attribute for AE"),
        ((change,), 0, "NLM_F_REPLACE flag is required"),
        (
            ((Xfrma.REPLAY_ESN_VAL, esn(32, 1)),),
            NLM_F_REPLACE,
            "New ESN size doesn't match the existing SA's ESN size",
        ),
        (
            ((Xfrma.REPLAY_ESN_VAL, esn(65, 2)),),
            NLM_F_REPLACE,
            "ESN replay window is longer than the bitmap",
        ),
    ):
        assert engine.refused(set_to, name, attributes, flags) == (errno.EINVAL, words)
    with engine.listen(Group.AEVENTS) as listener:
        for value in (change[1], esn(64, 2, oseq=20, seq=3)):
            engine.ask(set_to, name, ((Xfrma.REPLAY_ESN_VAL, value),), NLM_F_REPLACE)
            event = heard(listener)
            assert isinstance(event.fixed, AeventId)
            assert event.fixed.flags == 64
            assert event.find(Xfrma.REPLAY_ESN_VAL, ReplayEsn) == value
    times = LifetimeCurrent(5, 6, 7, 8)
    engine.ask(set_to, name, ((Xfrma.LTIME_VAL, times), (Xfrma.ETIMER_THRESH, 0)), NLM_F_REPLACE)
    fixed = engine.get().fixed
    assert isinstance(fixed, UserSaInfo)
    assert fixed.curlft == times
    assert engine.refused(
        set_to, replace(name, sa_id=replace(ID, spi=1)), (change,), NLM_F_REPLACE
    ) == (
        errno.ESRCH,
        None,
    )


def test_one_sa_is_migrated_with_its_key_and_numbers(engine: Engine) -> None:
    kind = MessageType.MIGRATE_STATE
    replay = (Xfrma.REPLAY_ESN_VAL, esn(0, 0, oseq=41))
    engine.add(attributes=(*ONE, *OUT, (Xfrma.ENCAP, ENCAP), (Xfrma.SET_MARK, 6), replay))
    move = UserMigrateState(ID, ELSEWHERE, LOCAL, new_reqid=70, new_family=2)
    with engine.listen(Group.MIGRATE) as listener:
        engine.ask(kind, move)
        told = heard(listener)
    assert (told.kind, told.fixed) == (kind, move)
    assert engine.refused(MessageType.GETSA, ID) == (errno.ESRCH, None)
    moved = replace(ID, daddr=ELSEWHERE)
    after = engine.get(moved)
    assert isinstance(after.fixed, UserSaInfo)
    assert (after.fixed.reqid, after.fixed.saddr) == (70, LOCAL)
    kept = {one.number: one.value for one in after.attributes}
    assert (kept[Xfrma.ALG_AEAD], kept[Xfrma.ENCAP], kept[Xfrma.SET_MARK]) == (AEAD, ENCAP, 6)
    assert kept[Xfrma.REPLAY_ESN_VAL] == replay[1]
    engine.ask(kind, replace(move, id=moved), ((Xfrma.ENCAP, replace(ENCAP, encap_type=0)),))
    assert engine.get(moved).find(Xfrma.ENCAP, EncapTemplate) is None
    engine.add()
    back = replace(move, id=moved, new_daddr=REMOTE)
    for message, attributes, refusal in (
        (back, (), (errno.EEXIST, "New SA tuple already occupied")),
        (replace(back, id=replace(ID, spi=0)), (), (errno.EINVAL, "Invalid SPI 0x0")),
        (replace(back, id=replace(ID, spi=9)), (), (errno.ESRCH, "Can not find state")),
        (replace(back, flags=4), (), (errno.EINVAL, "Unknown flags: 0x4")),
        (replace(back, new_family=0), (), (errno.EINVAL, "Invalid address family")),
        (
            replace(back, flags=2),
            (),
            (errno.EINVAL, "SA selector is not a single-host match for SA addresses"),
        ),
        (
            replace(back, new_daddr=ELSEWHERE),
            ((Xfrma.NAT_KEEPALIVE_INTERVAL, 3),),
            (errno.EINVAL, "NAT_KEEPALIVE_INTERVAL requires encapsulation"),
        ),
        (
            replace(back, new_daddr=ELSEWHERE),
            ((Xfrma.ENCAP, replace(ENCAP, encap_type=9)),),
            (errno.EINVAL, "Unsupported encapsulation type"),
        ),
    ):
        assert engine.refused(kind, message, attributes) == refusal


def test_an_acquire_that_is_asked_for_reaches_listeners(engine: Engine) -> None:
    template = UserTemplate(id=XfrmId(REMOTE, 0, 50), family=2, saddr=LOCAL, reqid=7, mode=1)
    policy = UserPolicyInfo(sel=XfrmSelector(family=2), dir=1, lft=UNLIMITED)
    asked = UserAcquire(INFO.id, LOCAL, XfrmSelector(family=2), policy, 1, 2, 3, 0)
    with engine.listen(Group.ACQUIRE) as listener:
        engine.ask(MessageType.ACQUIRE, asked, ((Xfrma.TMPL, (template,)), (Xfrma.IF_ID, 4)))
        told = heard(listener)
    assert isinstance(told.fixed, UserAcquire)
    assert told.fixed.id == template.id
    assert (told.fixed.aalgos, told.fixed.ealgos, told.fixed.calgos) == (1, 2, 3)
    assert told.fixed.seq != 0
    assert told.find(Xfrma.IF_ID, int) == 4
    assert engine.dump() == ()


def test_protocols_of_flushes(engine: Engine) -> None:
    engine.add()
    engine.ask(MessageType.FLUSHSA, UserSaFlush(51))
    assert len(engine.dump()) == 1
    engine.ask(MessageType.FLUSHSA, UserSaFlush(255))
    assert engine.dump() == ()
