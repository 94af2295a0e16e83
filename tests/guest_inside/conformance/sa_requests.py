"""NEWSA that is refused, and in which words."""

from tests.guest_inside.conformance.scenario import (
    DELSA,
    FLUSHSA,
    GETSA,
    NEWSA,
    UPDSA,
    Ask,
    Scenario,
    dump_sas,
    get_sa,
    scenario,
)
from tests.support.policy_wire import selector
from tests.support.raw_plane import ACK, REQUEST, attribute
from tests.support.sa_wire import (
    ALG_AUTH,
    ALG_COMP,
    ESN,
    IN,
    MTIMER_THRESH,
    NAT_KEEPALIVE_INTERVAL,
    OFFLOAD_DEV,
    OUT,
    SA_EXTRA_FLAGS,
    SA_PCPU,
    SEC_CTX,
    TFCPAD,
    TMPL,
    aead,
    algorithm,
    auth,
    crypt,
    direction,
    encap,
    if_id,
    mark,
    number,
    output_mark,
    replay,
    replay_esn,
    sa,
    sa_id,
)

SEPARATE = crypt() + auth()

_REFUSALS = {
    "family": sa(family=3) + aead(),
    "prefix of IPv4": sa(chosen=selector(prefixes=(33, 0))) + aead(),
    "prefix of IPv6": sa(chosen=selector("::", "::", prefixes=(0, 129))) + aead(),
    "family of the selector": sa(chosen=selector(family=9)) + aead(),
    "protocol": sa(protocol=17) + aead(),
    "no algorithm": sa(),
    "AEAD and separate": sa() + aead() + SEPARATE,
    "TFC padding in transport mode": sa(mode=0) + aead() + number(TFCPAD, 9),
    "mode": sa(mode=5) + aead(),
    "mode that is not built": sa(mode=2) + aead(),
    "transport between families": sa(mode=0, chosen=selector("::", "::", prefixes=(0, 0))) + aead(),
    "integrity alone": sa() + auth(),
    "AEAD name": sa() + aead("gcm(x)"),
    "cipher name": sa() + crypt("cbc(x)") + auth(),
    "integrity name": sa() + crypt() + auth("hmac(x)"),
    "integrity name without length": sa() + crypt() + algorithm(ALG_AUTH, "hmac(x)", bytes(16)),
    "ICV beyond the digest": sa() + crypt() + auth(bits=257),
    "AEAD key length": sa() + aead(octets=21),
    "AEAD ICV length": sa() + aead(bits=72),
    "cipher key length": sa() + crypt(octets=15) + auth(),
    "encapsulation": sa() + aead() + encap(9),
    "encapsulation of user space": sa() + aead() + encap(1),
    "encapsulation in TCP": sa() + aead() + encap(7),
    "keepalive on no direction": sa() + aead() + number(NAT_KEEPALIVE_INTERVAL, 9),
    "keepalive without UDP": sa() + aead() + direction(OUT) + number(NAT_KEEPALIVE_INTERVAL, 9),
    "ESN without its attribute": sa(flags=ESN) + aead(),
    "ESN with legacy window": sa(flags=ESN, window=32) + aead() + replay_esn(1, 32),
    "window beyond the bitmap": sa(flags=ESN) + aead() + replay_esn(1, 33),
    "ESN without window": sa(flags=ESN) + aead() + replay_esn(1, 0),
    "window going out": sa(window=1) + aead() + direction(OUT),
    "legacy sequence going out": sa() + aead() + direction(OUT) + replay(seq=1),
    "sequence coming in": sa() + aead() + direction(IN) + replay_esn(1, 32, oseq=1),
    "ESN for another protocol": sa(protocol=108) + replay_esn(1, 32),
    "bitmap too long": sa(flags=ESN) + aead() + replay_esn(129, 32),
    "bitmap shorter than told": sa(flags=ESN) + aead() + replay_esn(4, 32, bitmap=(0,)),
    "bitmap window going out": sa() + aead() + direction(OUT) + replay_esn(1, 32),
    "bitmap sequence going out": sa() + aead() + direction(OUT) + replay_esn(0, 0, seq=1),
    "bitmap going out": sa() + aead() + direction(OUT) + replay_esn(1, 0),
    "high sequence without ESN going out": sa()
    + aead()
    + direction(OUT)
    + replay_esn(0, 0, oseq=1 << 32),
    "last sequence without ESN going out": sa()
    + aead()
    + direction(OUT)
    + replay_esn(0, 0, oseq=0xFFFFFFFF),
    "last ESN going out": sa(flags=ESN)
    + aead()
    + direction(OUT)
    + replay_esn(0, 0, oseq=2**64 - 1),
    "high sequence without ESN coming in": sa()
    + aead()
    + direction(IN)
    + replay_esn(1, 32, seq=1 << 32),
    "last sequence without ESN coming in": sa()
    + aead()
    + direction(IN)
    + replay_esn(1, 32, seq=0xFFFFFFFF),
    "last ESN coming in": sa(flags=ESN) + aead() + direction(IN) + replay_esn(1, 32, seq=2**64 - 1),
    "DECAP_DSCP going out": sa(flags=2) + aead() + direction(OUT),
    "ICMP going out": sa(flags=16) + aead() + direction(OUT),
    "WILDRECV going out": sa(flags=8) + aead() + direction(OUT),
    "NOPMTUDISC coming in": sa(flags=4) + aead() + direction(IN),
    "DONT_ENCAP_DSCP coming in": sa() + aead() + direction(IN) + number(SA_EXTRA_FLAGS, 1),
    "OSEQ_MAY_WRAP coming in": sa() + aead() + direction(IN) + number(SA_EXTRA_FLAGS, 2),
    "SA_DIR out of range": sa() + aead() + direction(3),
    "SA_PCPU without direction": sa() + aead() + number(SA_PCPU, 0),
    "MTIMER_THRESH without encapsulation": sa() + aead() + number(MTIMER_THRESH, 9),
    "MTIMER_THRESH going out": sa() + aead() + direction(OUT) + encap() + number(MTIMER_THRESH, 9),
    "AH without integrity": sa(protocol=51) + aead(),
    "AH with cipher": sa(protocol=51) + SEPARATE,
    "IPCOMP without its algorithm": sa(protocol=108),
    "IPCOMP with a large SPI": sa(protocol=108, spi=0x10000) + algorithm(ALG_COMP, "deflate", b""),
    "ESP with compression": sa() + aead() + algorithm(ALG_COMP, "deflate", b""),
    "routing without care-of address": sa(protocol=43),
    "security context": sa() + aead() + attribute(SEC_CTX, bytes((10, 0, 8, 0, 0, 0, 0, 0))),
    "offload to no device": sa() + aead() + attribute(OFFLOAD_DEV, bytes((9, 0, 0, 0, 0, 0, 0, 0))),
    "SPI 0": sa(spi=0) + aead(),
    "template attribute": sa() + aead() + attribute(TMPL, bytes(63)),
    "key shorter than told": sa() + aead()[:-8],
    "integrity key length": sa() + crypt() + auth("hmac(md5)", 1, 96),
    "xcbc key length": sa() + crypt() + auth("xcbc(aes)", 15, 96),
    "selector of another family in BEET": sa(mode=4, chosen=selector("::", "::", prefixes=(0, 0)))
    + aead(),
    "short": sa()[:-1],
    "short attribute": sa() + attribute(18, bytes(10)),
}

_IDENTITY = {
    "twice": (Ask(NEWSA, sa() + aead()), Ask(NEWSA, sa() + aead()), dump_sas()),
    "twice with another if_id": (
        Ask(NEWSA, sa() + aead()),
        Ask(NEWSA, sa() + aead() + if_id(5)),
        dump_sas(),
    ),
    "twice with another mark": (
        Ask(NEWSA, sa() + aead()),
        Ask(NEWSA, sa() + aead() + mark(5)),
        Ask(NEWSA, sa() + aead() + mark(5, 7)),
        dump_sas(),
    ),
    "twice with another source": (
        Ask(NEWSA, sa() + aead()),
        Ask(NEWSA, sa(source="192.0.2.9") + aead()),
        dump_sas(),
    ),
    "twice in two families": (
        Ask(NEWSA, sa() + aead()),
        Ask(NEWSA, sa(source="2001:db8::1", destination="2001:db8::2") + aead()),
        dump_sas(any_order=True),
    ),
    "same sequence number": (
        Ask(NEWSA, sa(sequence=5) + aead()),
        Ask(NEWSA, sa(spi=2, sequence=5) + aead()),
        dump_sas(),
    ),
    "get and delete what is not there": (
        get_sa(),
        Ask(DELSA, sa_id()),
        Ask(UPDSA, sa() + aead()),
        Ask(GETSA, sa_id()[:-1]),
        Ask(DELSA, sa_id()[:-1]),
    ),
    "get and delete": (
        Ask(NEWSA, sa() + aead() + mark(5, 7) + if_id(3)),
        get_sa(),
        get_sa(attributes=mark(13)),
        get_sa(attributes=mark(5) + if_id(9)),
        get_sa(sa_id(spi=2)),
        get_sa(sa_id(family=10)),
        get_sa(sa_id(protocol=51)),
        Ask(DELSA, sa_id()),
        Ask(DELSA, sa_id() + mark(5)),
        dump_sas(),
    ),
    "get with a direction": (
        Ask(NEWSA, sa() + aead() + direction(IN)),
        get_sa(attributes=direction(IN)),
        Ask(DELSA, sa_id() + direction(IN)),
    ),
    "delete by source": (
        Ask(NEWSA, sa(protocol=43, mode=2) + attribute(14, bytes(16))),
        Ask(DELSA, sa_id(protocol=43)),
        Ask(DELSA, sa_id(protocol=43) + attribute(13, bytes(16))),
    ),
    "update": (
        Ask(NEWSA, sa() + aead() + encap() + output_mark(1)),
        Ask(UPDSA, sa(limits=(1, 2, 3, 4, 0, 0, 0, 0), reqid=9) + aead() + encap(destination=9)),
        Ask(UPDSA, sa(mode=0) + aead() + encap()),
        Ask(UPDSA, sa() + aead()),
        Ask(UPDSA, sa() + aead("rfc7539esp(chacha20,poly1305)", 36) + encap()),
        Ask(UPDSA, sa() + aead() + encap() + output_mark(2, 3) + if_id(7)),
        Ask(UPDSA, sa() + aead() + encap() + output_mark(0) + if_id(0)),
        Ask(UPDSA, sa() + aead() + encap() + number(TFCPAD, 7) + number(MTIMER_THRESH, 3)),
        Ask(UPDSA, sa() + aead() + encap() + mark(5)),
        dump_sas(),
    ),
    "update of the direction": (
        Ask(NEWSA, sa() + aead() + direction(IN)),
        Ask(UPDSA, sa() + aead() + direction(OUT)),
        Ask(UPDSA, sa() + aead()),
        dump_sas(),
    ),
    "selector of an update": (
        Ask(NEWSA, sa() + aead()),
        Ask(UPDSA, sa(chosen=selector()) + aead()),
        dump_sas(),
    ),
    "flush": (
        Ask(FLUSHSA, b"\0"),
        Ask(NEWSA, sa() + aead()),
        Ask(FLUSHSA, b"\x33"),
        Ask(FLUSHSA, b"\x11"),
        Ask(FLUSHSA, b"\xff"),
        Ask(NEWSA, sa() + aead()),
        Ask(FLUSHSA, b"\x32\0\0\0"),
        Ask(FLUSHSA, b""),
        dump_sas(),
    ),
    "not replaced by NEWSA": (
        Ask(NEWSA, sa() + aead(), REQUEST | ACK | 0x400),
        Ask(NEWSA, sa(reqid=8) + aead(), REQUEST | ACK | 0x100),
        dump_sas(),
    ),
    "without acknowledgement flag": (Ask(NEWSA, sa(family=9) + aead(), REQUEST), get_sa()),
}
SCENARIOS: tuple[Scenario, ...] = (
    *(scenario(name, Ask(NEWSA, payload), dump_sas()) for name, payload in _REFUSALS.items()),
    *(scenario(name, *steps) for name, steps in _IDENTITY.items()),
)
