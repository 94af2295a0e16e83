"""The values of a gateway file that TOML has no type for: addresses, networks, marks. Pure."""

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
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from plutino.model.numbers import U32_MAX, Mark


def _refusal(why: str, hint: str | None = None) -> PydanticCustomError:
    """A finding with words of our own, which ``load`` passes on."""
    return PydanticCustomError("plutino", "{why}", {"why": why, "hint": hint})


def _parse_address(value: object) -> IPv4Address | IPv6Address:
    try:
        if isinstance(value, str):
            return ip_address(value)
    except ValueError:
        pass
    raise _refusal(f"must be an IPv4 or IPv6 address in quotes, not {value!r}")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _parse_interface(value: object) -> IPv4Interface | IPv6Interface:
    try:
        if isinstance(value, str) and "/" in value:
            return ip_interface(value)
    except ValueError:
        pass
    why = f"must be an address with prefix length in quotes, not {value!r}"
    raise _refusal(why, 'such as "10.255.0.0/31"')


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    try:
        if isinstance(value, str) and "/" in value:
            network = ip_network(value, strict=False)
        else:
            raise ValueError
    except ValueError:
        why = f"must be a network in quotes, not {value!r}"
        raise _refusal(why, 'such as "10.2.0.0/16"') from None
    if str(network.network_address) != str(ip_interface(value).ip):
        raise _refusal(f"{value} has host bits set", f'the network is "{network}"')
    return network


def _parse_mark(value: object) -> Mark:
    try:
        if isinstance(value, str):
            number, _, mask = value.partition("/")
            return Mark(int(number, 0), int(mask, 0) if mask else U32_MAX)
    except ValueError:
        pass
    why = f"must be a mark with an optional mask in quotes, not {value!r}"
    raise _refusal(why, 'such as "0x10/0xff"; without a mask all 32 bits count')


IpAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(_parse_address)]
IpInterface = Annotated[IPv4Interface | IPv6Interface, BeforeValidator(_parse_interface)]
IpNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(_parse_network)]
IpAddresses = Annotated[tuple[IpAddress, ...], BeforeValidator(_listed)]
"""One in quotes, or a list of them."""
PacketMark = Annotated[Mark, BeforeValidator(_parse_mark), WithJsonSchema({"type": "string"})]
