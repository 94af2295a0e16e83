"""Each algorithm both ways: scapy opens what goes out, and seals what comes in."""

from collections.abc import Callable
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation

from tests.guest_inside.conformance.packets import incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    ANY,
    Inject,
    Scenario,
    Send,
    get_sa,
    in_policy,
    in_sa,
    in_template,
    out_policy,
    out_sa,
    out_template,
    scenario,
    templates,
)
from tests.support.esp_algorithms import ALGORITHMS, BY_NAME, EspAlgorithm, Keys
from tests.support.sa_wire import (
    AF_UNSPEC,
    ALG_AEAD,
    ALG_AUTH_TRUNC,
    ALG_CRYPT,
    ESN,
    LOCAL,
    REMOTE,
    algorithm,
    replay_esn,
    sa_id,
)

_HIGH = 5


def _keys(of: EspAlgorithm) -> Keys:
    return Keys(bytes(range(of.crypt_key)), bytes(range(of.auth_key)))


def _attributes(of: EspAlgorithm) -> bytes:
    keys = _keys(of)
    if of.auth is None:
        return algorithm(ALG_AEAD, of.crypt, keys.crypt, of.icv * 8)
    return algorithm(ALG_CRYPT, of.crypt, keys.crypt) + algorithm(
        ALG_AUTH_TRUNC, of.auth, keys.auth, of.icv * 8
    )


def _judge(of: EspAlgorithm, version: int, spi: int, *, incoming_side: bool, esn: bool) -> Any:
    source, destination = LOCAL[version], REMOTE[version]
    if incoming_side:
        source, destination = destination, source
    header = (IP if version == 4 else IPv6)(src=source, dst=destination)
    return SecurityAssociation(
        ESP, spi=spi, tunnel_header=header, esn_en=esn, esn=_HIGH, **of.scapy(_keys(of))
    )


def _opener(judge: Any) -> Callable[[bytes], bytes]:
    return lambda octets: bytes(
        judge.decrypt((IP if octets[0] >> 4 == 4 else IPv6)(octets), verify=True)
    )


def _case(of: EspAlgorithm, inner: int, outer: int, *, esn: bool = False) -> Scenario:
    flags = AF_UNSPEC | (ESN if esn else 0)
    attributes = _attributes(of)
    start = _HIGH << 32
    out_state = replay_esn(0, 0, oseq=start) if esn else b""
    in_state = replay_esn(2, 64, seq=start) if esn else b""
    judge = _judge(of, outer, 0x2000, incoming_side=True, esn=esn)
    packet = bytes(
        judge.encrypt((IP if inner == 4 else IPv6)(incoming(inner)), seq_num=1, esn_en=esn)
    )
    forged = packet[:-1] + bytes([packet[-1] ^ 1])
    return scenario(
        f"{of} {inner} in {outer}{' with ESN' if esn else ''}",
        out_policy(ANY[inner], templates(out_template(outer))),
        in_policy(ANY[inner], templates(in_template(outer))),
        out_sa(attributes + out_state, version=outer, flags=flags),
        in_sa(attributes + in_state, version=outer, flags=flags, spi=0x2000),
        Send(outgoing(inner)),
        Inject(forged),
        Inject(packet),
        get_sa(sa_id(spi=0x2000, destination=LOCAL[outer])),
        opener=_opener(_judge(of, outer, 0x1000, incoming_side=False, esn=esn)),
    )


SCENARIOS: tuple[Scenario, ...] = (
    *(_case(one, 4, 4) for one in ALGORITHMS),
    *(_case(BY_NAME["gcm128-16"], inner, outer) for inner, outer in ((6, 4), (4, 6), (6, 6))),
    *(
        _case(BY_NAME[name], 4, 4, esn=True)
        for name in ("gcm128-16", "chacha20-poly1305", "cbc128-sha256", "ctr128-sha512")
    ),
)
