"""What is told of an SA comes back, as ``copy_to_user_state_extra`` has it."""

import errno
from dataclasses import replace

import pytest

from plutino.model.secret import Secret
from plutino.netlink.xfrm.attributes import AeadAlgorithm, AuthAlgorithm, ReplayEsn
from plutino.netlink.xfrm.constants import Group, MessageType, SaFlag, Xfrma
from plutino.netlink.xfrm.structures import (
    UNLIMITED,
    AeventId,
    AuthHeader,
    EncapTemplate,
    LifetimeCurrent,
    ReplayState,
    UserSaInfo,
    XfrmMark,
    XfrmSelector,
)
from tests.support.sa_requests import (
    AEAD,
    ELSEWHERE,
    ENCAP,
    ID,
    INFO,
    LOCAL,
    NLM_F_REPLACE,
    ONE,
    OUT,
    SEPARATE,
    Attributes,
    Engine,
    auth,
    crypt,
    esn,
    heard,
)

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
