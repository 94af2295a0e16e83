"""What each feature needs of a kernel: build option, module, first version, other features. Pure.

The versions are those of the kernel headers and change logs. They are a hint and decide nothing:
distributions bring features back to older kernels, and leave others out of newer ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from plutino.model.feature import Feature


@dataclass(frozen=True, slots=True)
class Need:
    """Build options, the module that holds the feature, and the first version that has it.

    Without ``base`` the feature cannot even be tried. ``instead`` is what a gateway file can say
    to do without it.
    """

    option: str
    module: str = ""
    since: str = ""
    base: Feature | None = None
    instead: str = ""


_ESP: Final = "CONFIG_INET_ESP"
_ESP6: Final = "CONFIG_INET6_ESP"
_USER: Final = "CONFIG_XFRM_USER"


def _cipher(option: str, module: str, since: str = "") -> Need:
    return Need(option, module, since, Feature.ESP_TUNNEL_V4)


NEEDS: Final[Mapping[Feature, Need]] = MappingProxyType(
    {
        Feature.XFRM_LINK: Need(
            "CONFIG_XFRM_INTERFACE", "xfrm_interface", "4.19", instead='`kind = "vti"`'
        ),
        Feature.EXTERNAL_LINK: Need(
            "CONFIG_XFRM_INTERFACE", "xfrm_interface", "6.1", Feature.XFRM_LINK
        ),
        Feature.ENCAP_ROUTE: Need(
            "CONFIG_XFRM_INTERFACE and CONFIG_LWTUNNEL",
            "xfrm_interface",
            "6.1",
            Feature.EXTERNAL_LINK,
        ),
        Feature.VTI_V4: Need("CONFIG_NET_IPVTI", "ip_vti", "3.6"),
        Feature.VTI_V6: Need("CONFIG_IPV6_VTI", "ip6_vti", "3.13"),
        Feature.VRF: Need("CONFIG_NET_VRF", "vrf", "4.3"),
        Feature.POLICY: Need(_USER, "xfrm_user", "4.19"),
        Feature.POLICY_DEFAULT: Need(_USER, "xfrm_user", "5.15"),
        Feature.ESP_TUNNEL_V4: Need(_ESP, "esp4"),
        Feature.ESP_TUNNEL_V6: Need(_ESP6, "esp6"),
        Feature.ESP_TRANSPORT_V4: Need(_ESP, "esp4"),
        Feature.ESP_TRANSPORT_V6: Need(_ESP6, "esp6"),
        # Up to 5.1 each mode was a module of its own (xfrm4_mode_beet), as every distribution had.
        Feature.ESP_BEET_V4: Need(_ESP, "esp4"),
        Feature.ESP_BEET_V6: Need(_ESP6, "esp6"),
        Feature.IPTFS: Need("CONFIG_XFRM_IPTFS", "xfrm_iptfs", "6.14", Feature.ESP_TUNNEL_V4),
        Feature.UDP_V4: Need(_ESP, "esp4", "2.6", Feature.ESP_TUNNEL_V4),
        Feature.UDP_V6: Need(_ESP6, "esp6", "5.8", Feature.ESP_TUNNEL_V6),
        Feature.NAT_KEEPALIVE: Need(_ESP, "", "6.11", Feature.UDP_V4),
        Feature.ESN: Need(_ESP, "", "2.6.39", Feature.ESP_TUNNEL_V4),
        Feature.REPLAY_WINDOW: Need(_ESP, "", "2.6.39", Feature.ESP_TUNNEL_V4),
        Feature.SA_DIRECTION: Need(_USER, "", "6.10", Feature.ESP_TUNNEL_V4),
        Feature.SA_CPU: Need(_USER, "", "6.13", Feature.ESP_TUNNEL_V4),
        Feature.MARK: Need(_USER, "", "2.6.34", Feature.ESP_TUNNEL_V4),
        Feature.OUTPUT_MARK: Need(_USER, "", "4.14", Feature.ESP_TUNNEL_V4),
        Feature.OUTPUT_MARK_MASK: Need(
            _USER, "", "4.19", Feature.OUTPUT_MARK, "a mask of all bits (`mark-mask = 0xffffffff`)"
        ),
        Feature.INPUT_MARK: Need(_USER, "", "4.19", Feature.OUTPUT_MARK),
        Feature.MIGRATE: Need("CONFIG_XFRM_MIGRATE", "", "2.6.21"),
        Feature.MIGRATE_STATE: Need("CONFIG_XFRM_MIGRATE", "", "7.2"),
        Feature.CRYPTO_OFFLOAD: Need(
            "CONFIG_INET_ESP_OFFLOAD", "esp4_offload", "4.12", Feature.ESP_TUNNEL_V4
        ),
        Feature.PACKET_OFFLOAD: Need(
            "CONFIG_INET_ESP_OFFLOAD", "esp4_offload", "6.2", Feature.CRYPTO_OFFLOAD
        ),
        Feature.STATISTICS: Need("CONFIG_XFRM_STATISTICS"),
        Feature.AES_GCM: _cipher("CONFIG_CRYPTO_GCM", "gcm"),
        Feature.AES_CCM: _cipher("CONFIG_CRYPTO_CCM", "ccm"),
        Feature.AES_GMAC: _cipher("CONFIG_CRYPTO_GCM", "gcm"),
        Feature.CHACHA20_POLY1305: _cipher(
            "CONFIG_CRYPTO_CHACHA20POLY1305", "chacha20poly1305", "4.2"
        ),
        Feature.AES_CBC: _cipher("CONFIG_CRYPTO_CBC", "cbc"),
        Feature.AES_CTR: _cipher("CONFIG_CRYPTO_CTR", "ctr"),
        Feature.NULL: _cipher("CONFIG_CRYPTO_NULL", "crypto_null"),
        Feature.HMAC_SHA256: _cipher("CONFIG_CRYPTO_SHA256", ""),
        Feature.HMAC_SHA384: _cipher("CONFIG_CRYPTO_SHA512", ""),
        Feature.HMAC_SHA512: _cipher("CONFIG_CRYPTO_SHA512", ""),
        Feature.AES_XCBC: _cipher("CONFIG_CRYPTO_XCBC", "xcbc"),
        Feature.AES_CMAC: _cipher("CONFIG_CRYPTO_CMAC", "cmac", "3.10"),
    }
)
