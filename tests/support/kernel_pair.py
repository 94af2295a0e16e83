"""A pair on the kernel's plane: objects of others beside it, and whether it passes."""

from ipaddress import ip_address

from plutino.lab.demo import BERLIN, INNER
from plutino.lab.traffic import ping
from tests.support.lab import Pair

FOREIGN = (
    "link add ipsec9 type xfrm if_id 9",
    "xfrm state add src 192.0.2.1 dst 192.0.2.9 proto esp spi 0x999 mode tunnel reqid 9 if_id 1 "
    "aead rfc4106(gcm(aes)) 0x0102030405060708010203040506070801020304 128",
    "xfrm policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir out if_id 1 "
    "tmpl src 192.0.2.1 dst 192.0.2.9 proto esp reqid 9 mode tunnel",
)


def pings(pair: Pair) -> bool:
    """Whether both inner families pass, from Paris to Berlin."""
    replies = [ping(pair.paris.namespace, ip_address(text), count=1)[0] for text in INNER[BERLIN]]
    return replies == [1, 1]
