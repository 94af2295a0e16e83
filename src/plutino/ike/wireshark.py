"""The keys of an IKE SA as Wireshark takes them, for debugging: ``ikev2_decryption_table``."""

from typing import Final

from plutino.ike.keys import SessionKeys

_ENCRYPTIONS: Final = {
    12: "AES-CBC-{bits} [RFC3602]",
    14: "AES-CCM-{bits} with 8 octet ICV [RFC5282]",
    15: "AES-CCM-{bits} with 12 octet ICV [RFC5282]",
    16: "AES-CCM-{bits} with 16 octet ICV [RFC5282]",
    18: "AES-GCM-{bits} with 8 octet ICV [RFC5282]",
    19: "AES-GCM-{bits} with 12 octet ICV [RFC5282]",
    20: "AES-GCM-{bits} with 16 octet ICV [RFC5282]",
}
_INTEGRITIES: Final = {
    2: "HMAC_SHA1_96 [RFC2404]",
    12: "HMAC_SHA2_256_128 [RFC4868]",
    13: "HMAC_SHA2_384_192 [RFC4868]",
    14: "HMAC_SHA2_512_256 [RFC4868]",
}
_NONE: Final = "NONE [RFC4306]"


def table_line(keys: SessionKeys) -> str | None:
    """SPIs, keys of both directions and algorithms; None for algorithms that it does not know."""
    suite, sk = keys.suite, keys.keys
    encryption = _ENCRYPTIONS.get(suite.encryption.ike_id)
    integrity = _NONE if suite.integrity is None else _INTEGRITIES.get(suite.integrity.ike_id)
    if encryption is None or integrity is None:
        return None
    spis = keys.exchanged.initiator_spi, keys.exchanged.responder_spi
    parts = (
        *(spi.hex() for spi in spis),
        sk.ei.hex(),
        sk.er.hex(),
        f'"{encryption.format(bits=8 * suite.key_size)}"',
        sk.ai.hex(),
        sk.ar.hex(),
        f'"{integrity}"',
    )
    return ",".join(parts)
