"""Kernel settings of others that stop a tunnel or narrow what it can do: told, never changed. Pure.

What they mean is in ``Documentation/networking/ip-sysctl.rst``; the value of ``all`` and that of a
device are joined by OR.
"""

from collections.abc import Callable, Iterator
from typing import Final

from plutino.config.gateway import Gateway
from plutino.model.link import Namespace

ReadSetting = Callable[[Namespace, str], str | None]
"""The value of a setting, such as ``ipv4/conf/all/forwarding``; None if the kernel has none."""
_FAMILIES: Final = (("ipv4", 4), ("ipv6", 6))


def settings_in_the_way(gateway: Gateway, read: ReadSetting) -> tuple[str, ...]:
    """What keeps the kernel's interfaces from doing their work, in words with the cure."""
    return tuple(_in_the_way(gateway, read))


def settings_worth_a_look(gateway: Gateway, read: ReadSetting) -> tuple[str, ...]:
    """What is as the kernel has it, and may not be what a gateway wants."""
    return (*_forwarding(gateway, read), *_hash_policy(gateway, read))


def _in_the_way(gateway: Gateway, read: ReadSetting) -> Iterator[str]:
    for interface, namespace in _interfaces(gateway):
        if gateway.options(interface).kind == "vti":
            # An XFRM interface looks for policies in spite of it; IPv6 has no such setting.
            if place := _is_on("ipv4", interface, "disable_xfrm", namespace, read):
                yield (
                    f"disable_xfrm is on: IPv4 packets into {interface} meet no policy and are "
                    f"dropped; `sysctl net.ipv4.conf.{place}.disable_xfrm=0` lets them through"
                )
            continue  # VTIs are often set up with disable_policy
        settings = gateway.devices.get(interface)
        if settings is not None and settings.disable_policy is not None:
            continue
        for family, version in _FAMILIES:
            if place := _is_on(family, interface, "disable_policy", namespace, read):
                yield (
                    f"disable_policy is on: IPv{version} packets out of {interface} pass the SPD "
                    f"unchecked; `sysctl net.{family}.conf.{place}.disable_policy=0` has them "
                    "checked"
                )


def _forwarding(gateway: Gateway, read: ReadSetting) -> Iterator[str]:
    for interface, namespace in _interfaces(gateway):
        for family, version in _FAMILIES:
            if read(namespace, f"{family}/conf/{interface}/forwarding") != "0":
                continue
            settings = gateway.devices.get(interface)
            if settings is None or settings.forwarding is None:
                yield (
                    f"forwarding is off: what comes out of {interface} reaches this host alone in "
                    f"IPv{version}; for networks behind it set `devices.{interface}.forwarding` "
                    "and that of the devices that lead there"
                )


def _hash_policy(gateway: Gateway, read: ReadSetting) -> Iterator[str]:
    for name, group in gateway.groups.items():
        if group.mode != "ecmp":
            continue
        tunnel = gateway.tunnels[group.tunnels[0]]
        namespace = gateway.options(tunnel.interface).namespace
        for family, version in _FAMILIES:
            key = f"{family}/fib_multipath_hash_policy"
            if read(namespace, key) == "0":
                yield (
                    f"group '{name}' shares by address: all that two hosts say to each other in "
                    f"IPv{version} takes one tunnel; `sysctl net.{key.replace('/', '.')}=1` shares "
                    "by port too"
                )


def _interfaces(gateway: Gateway) -> Iterator[tuple[str, Namespace]]:
    for name in dict.fromkeys(tunnel.interface for tunnel in gateway.tunnels.values()):
        yield name, gateway.options(name).namespace


def _is_on(
    family: str, interface: str, name: str, namespace: Namespace, read: ReadSetting
) -> str | None:
    """Where it is on: at the device, or for all."""
    for place in (interface, "all"):
        if read(namespace, f"{family}/conf/{place}/{name}") == "1":
            return place
    return None
