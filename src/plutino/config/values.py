"""The values of a gateway file that TOML has no type for: addresses, networks, marks. Pure."""

import re
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from plutino.model.numbers import U32_MAX, Mark

ANY: Final = "any"
"""Where a peer may have any address."""
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME: Final = 253


def refusal(why: str, hint: str | None = None) -> PydanticCustomError:
    """A finding with words of our own, which ``load`` passes on."""
    return PydanticCustomError("plutino", "{why}", {"why": why, "hint": hint})


def _parse_address(value: object) -> IPv4Address | IPv6Address:
    try:
        if isinstance(value, str):
            return ip_address(value)
    except ValueError:
        pass
    raise refusal(f"must be an IPv4 or IPv6 address in quotes, not {value!r}")


def _parse_remote(value: object) -> str:
    """An address in its usual form, `any`, or a host name (RFC 1123, 2.1)."""
    text = str(value) if isinstance(value, IPv4Address | IPv6Address) else value
    if not isinstance(text, str):
        raise refusal(f"must be an address, `any` or a host name in quotes, not {value!r}")
    try:
        return str(ip_address(text))
    except ValueError:
        name = text.removesuffix(".").lower()
    labels = name.split(".")
    if not all(_LABEL.fullmatch(one) for one in labels) or len(name) > _LONGEST_NAME:
        why = f"must be an IPv4 or IPv6 address, `any` or a host name in quotes, not {value!r}"
        raise refusal(why, 'such as "198.51.100.2" or "gw.example.net"')
    if labels[-1].isdigit():  # what was meant for an address, and no top-level domain
        raise refusal(f"{text!r} is neither an IPv4 address nor a host name")
    return name


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _parse_interface(value: object) -> IPv4Interface | IPv6Interface:
    try:
        if isinstance(value, str) and "/" in value:
            return ip_interface(value)
    except ValueError:
        pass
    why = f"must be an address with prefix length in quotes, not {value!r}"
    raise refusal(why, 'such as "10.255.0.0/31"')


def parse_network(
    value: object, example: str = 'such as "10.2.0.0/16"'
) -> IPv4Network | IPv6Network:
    """The network that a text tells of; ``example`` is what is said where it tells of none."""
    try:
        if isinstance(value, str) and "/" in value:
            network = ip_network(value, strict=False)
        else:
            raise ValueError
    except ValueError:
        why = f"must be a network in quotes, not {value!r}"
        raise refusal(why, example) from None
    if str(network.network_address) != str(ip_interface(value).ip):
        raise refusal(f"{value} has host bits set", f'the network is "{network}"')
    return network


def _parse_mark(value: object) -> Mark:
    try:
        if isinstance(value, str):
            number, _, mask = value.partition("/")
            return Mark(int(number, 0), int(mask, 0) if mask else U32_MAX)
    except ValueError:
        pass
    why = f"must be a mark with an optional mask in quotes, not {value!r}"
    raise refusal(why, 'such as "0x10/0xff"; without a mask all 32 bits count')


IpAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(_parse_address)]
Remote = Annotated[str, BeforeValidator(_parse_remote)]
"""An address in its usual form, `any`, or a host name in small letters."""
IpInterface = Annotated[IPv4Interface | IPv6Interface, BeforeValidator(_parse_interface)]
IpNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network)]
IpAddresses = Annotated[tuple[IpAddress, ...], BeforeValidator(_listed)]
"""One in quotes, or a list of them."""
PacketMark = Annotated[Mark, BeforeValidator(_parse_mark), WithJsonSchema({"type": "string"})]
