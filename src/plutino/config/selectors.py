"""Traffic selectors as a gateway file has them: ``"10.1.0.0/16[tcp/443]"``. Pure.

The form is that of strongSwan's swanctl.conf, with numbers where that has names of services too.
"""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from plutino.config.values import IpNetwork, parse_network, refusal
from plutino.model.traffic import (
    ICMP,
    ICMPV6,
    LAST_PORT,
    PROTOCOLS,
    WITH_PORTS,
    WITH_TYPES,
    NetworkSelector,
    protocol_name,
)

_FORM: Final = re.compile(r"([^\[\]]*)\[([^\[\]/]*)(?:/([^\[\]/]*))?\]")
_NUMBERS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_EXAMPLE: Final = 'such as "10.2.0.0/16", "10.2.0.0/16[tcp/443]" or "10.2.0.0/16[udp/5000-5099]"'
_LAST_TYPE: Final = 0xFF


def _parse_selector(value: object) -> NetworkSelector:
    if isinstance(value, NetworkSelector):
        return value
    if not isinstance(value, str) or not {"[", "]"} & set(value):
        return NetworkSelector(parse_network(value, _EXAMPLE))
    form = _FORM.fullmatch(value)
    if form is None:
        why = f"must be a network, and at most one [protocol/ports] behind it, not {value!r}"
        raise refusal(why, _EXAMPLE)
    network = parse_network(form[1], _EXAMPLE)
    protocol = _protocol(form[2], network)
    return NetworkSelector(network, protocol, *_ports(form[3], protocol))


def _protocol(word: str, network: IpNetwork) -> int:
    names = ", ".join(PROTOCOLS)
    number = PROTOCOLS.get(word)
    if number is None:
        number = int(word) if re.fullmatch("[0-9]{1,3}", word) else -1
    if not 0 < number <= 0xFF:
        why = f"{word!r} is no protocol" if word else "the protocol is missing"
        raise refusal(why, f"one of {names}, or a number from 1 to 255; none at all for any")
    if number == (ICMP if network.version == 6 else ICMPV6):
        other = protocol_name(ICMPV6 if network.version == 6 else ICMP)
        why = f"{protocol_name(number)} is not what IPv{network.version} has"
        raise refusal(why, f'"{network}[{other}]"')
    return number


def _ports(word: str | None, protocol: int) -> tuple[int, int]:
    if word is None:
        return 0, LAST_PORT
    name = protocol_name(protocol)
    if protocol not in WITH_PORTS | WITH_TYPES:
        why = f"{name} has no ports that packets could be told apart by"
        raise refusal(why, "those of tcp, udp, sctp and udplite, and types of icmp and ipv6-icmp")
    what, most = ("type", _LAST_TYPE) if protocol in WITH_TYPES else ("port", LAST_PORT)
    form = _NUMBERS.fullmatch(word)
    first = -1 if form is None else int(form[1])
    last = first if form is None or form[2] is None else int(form[2])
    if not 0 <= first <= last <= most:
        why = f"{word!r} is no {what} of {name}, and no range of them"
        example = f'"{name}/8"' if what == "type" else f'"{name}/443" or "{name}/5000-5099"'
        raise refusal(why, f"numbers from 0 to {most}, such as {example}")
    if protocol in WITH_TYPES:
        return first << 8, last << 8 | _LAST_TYPE
    return first, last


TrafficSelector = Annotated[
    NetworkSelector, BeforeValidator(_parse_selector), WithJsonSchema({"type": "string"})
]
"""A network in quotes, with a protocol and ports in brackets behind it if not all are meant."""
