"""What the engine refuses of SAs, and in which words, as ``net/xfrm/xfrm_user.c`` has it."""

import errno
from dataclasses import replace
from typing import Any

import pytest

from plutino.model.errors import KernelError
from plutino.model.secret import Secret
from plutino.netlink.xfrm.attributes import AeadAlgorithm
from plutino.netlink.xfrm.constants import MessageType, SaExtraFlag, SaFlag, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import (
    ReplayState,
    SecurityContextHeader,
    UserOffload,
    XfrmId,
    XfrmSelector,
)
from tests.support.sa_requests import (
    ENCAP,
    IN,
    INFO,
    ONE,
    OUT,
    REMOTE,
    SEPARATE,
    Attributes,
    Engine,
    auth,
    crypt,
    esn,
)

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


def test_a_security_context_is_measured_and_let_go(engine: Engine) -> None:
    bad = SecurityContextHeader(9, 8, 1, 1, 0).encode()
    payload = XfrmMessage.build(MessageType.NEWSA, INFO, ONE).encode()
    octets = (12).to_bytes(2, "little") + (8).to_bytes(2, "little") + bad
    with pytest.raises(KernelError) as caught:
        engine.socket.request("add", MessageType.NEWSA, payload + octets)
    assert caught.value.extack == "Invalid security context length"
