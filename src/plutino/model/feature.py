"""What a kernel may be able to do as a data plane, and what a configuration asks of one."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Feature(StrEnum):
    """One line of `plutino doctor`, by its words there, in its order."""

    XFRM_LINK = "XFRM interface"
    EXTERNAL_LINK = "external XFRM interface"
    ENCAP_ROUTE = "routes with `encap xfrm`"
    VTI_V4 = "VTI over IPv4"
    VTI_V6 = "VTI over IPv6"
    VRF = "VRF"
    POLICY = "policies by if_id"
    POLICY_DEFAULT = "policy defaults"
    ESP_TUNNEL_V4 = "ESP in tunnel mode over IPv4"
    ESP_TUNNEL_V6 = "ESP in tunnel mode over IPv6"
    ESP_TRANSPORT_V4 = "ESP in transport mode over IPv4"
    ESP_TRANSPORT_V6 = "ESP in transport mode over IPv6"
    ESP_BEET_V4 = "ESP in BEET mode over IPv4"
    ESP_BEET_V6 = "ESP in BEET mode over IPv6"
    IPTFS = "IP-TFS mode"
    UDP_V4 = "ESP in UDP over IPv4"
    UDP_V6 = "ESP in UDP over IPv6"
    NAT_KEEPALIVE = "NAT keepalives"
    ESN = "extended sequence numbers"
    REPLAY_WINDOW = "replay window of 4,096 packets"
    SA_DIRECTION = "direction of SAs"
    SA_CPU = "SAs by CPU"
    MARK = "mark as lookup key"
    OUTPUT_MARK = "output mark"
    OUTPUT_MARK_MASK = "output mark under a mask"
    INPUT_MARK = "mark of decrypted packets"
    MIGRATE = "migration of policies with their SAs"
    MIGRATE_STATE = "migration of one SA"
    CRYPTO_OFFLOAD = "cryptography by a device"
    PACKET_OFFLOAD = "all of ESP by a device"
    STATISTICS = "drop counters"
    AES_GCM = "rfc4106(gcm(aes))"
    AES_CCM = "rfc4309(ccm(aes))"
    AES_GMAC = "rfc4543(gcm(aes))"
    CHACHA20_POLY1305 = "rfc7539esp(chacha20,poly1305)"
    AES_CBC = "cbc(aes)"
    AES_CTR = "rfc3686(ctr(aes))"
    NULL = "ecb(cipher_null)"
    HMAC_SHA256 = "hmac(sha256)"
    HMAC_SHA384 = "hmac(sha384)"
    HMAC_SHA512 = "hmac(sha512)"
    AES_XCBC = "xcbc(aes)"
    AES_CMAC = "cmac(aes)"


ALGORITHMS: Final = tuple(one for one in Feature if "(" in one.value)
"""Those that bear the kernel's name of an algorithm."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A feature that a configuration asks for: whose, and by which key of the file."""

    feature: Feature
    user: str
    key: str


@dataclass(frozen=True, slots=True)
class PlaneBinding:
    """An option that ``plane`` alone serves, whatever the kernel can do."""

    plane: str
    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Demands:
    """What a configuration asks of a data plane."""

    requirements: tuple[Requirement, ...] = ()
    bindings: tuple[PlaneBinding, ...] = ()


_PLAIN: Final = (
    Feature.XFRM_LINK,
    Feature.POLICY,
    Feature.ESP_TUNNEL_V4,
    Feature.ESP_TUNNEL_V6,
    Feature.AES_GCM,
    Feature.ESN,
    Feature.OUTPUT_MARK_MASK,
)
PLAIN_TUNNEL: Final = Demands(
    tuple(Requirement(feature, "a plain tunnel", "") for feature in _PLAIN)
)
"""A tunnel with no options of its own, over either IP version."""
