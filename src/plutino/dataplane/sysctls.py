"""Reads and writes settings of devices, and keeps what was there before ours.

What a device had is written down before it is changed, in the runtime directory, which is gone at
the next boot as the settings are.
"""

import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from plutino.dataplane.journal import Journal
from plutino.model.errors import KernelError
from plutino.model.link import Namespace
from plutino.model.sysctl import Sysctl
from plutino.netlink.namespaces import NamespaceMissingError
from plutino.netlink.route_clients import RouteClients

SETTINGS: Final = Path("/proc/sys/net")
"""Of the network namespace of whoever opens it."""


class SysctlClient:
    """Settings of devices in all namespaces of ``routes``."""

    def __init__(self, routes: RouteClients, journal: Journal) -> None:
        self._routes = routes
        self._journal = journal

    def observe(self, wanted: Iterable[Sysctl]) -> tuple[Sysctl, ...]:
        """What is set now, for those settings and for those that have been changed before."""
        keys = {one.key: one for one in (*wanted, *self.former())}
        found = []
        for one in keys.values():
            value = self._read(one)
            if value is not None:
                found.append(Sysctl(one.family, one.device, one.name, value, one.namespace))
        return tuple(found)

    def former(self) -> tuple[Sysctl, ...]:
        """What was set before ours."""
        parsed = map(parse_word, self._journal.words)
        return tuple(sorted(filter(None, parsed), key=lambda one: (one.device, one.name)))

    def set(self, wanted: Sysctl) -> None:
        """Write it down and change it; what was there before closes the matter.

        Raises KernelError if the kernel has no such setting or refuses.
        """
        noted = {one.key: one for one in self.former()}
        before = self._read(wanted)
        if wanted.key not in noted and before is not None and before != wanted.value:
            there = Sysctl(wanted.family, wanted.device, wanted.name, before, wanted.namespace)
            self._journal.note([encode_word(there)])
            noted[wanted.key] = there
        step = f"set net.{wanted.family}.conf.{wanted.device}.{wanted.name}"
        try:
            self._routes.inside(wanted.namespace, lambda: path_of(wanted).write_text(wanted.value))
        except OSError as error:
            if error.errno not in (errno.ENOENT, None) or wanted.key not in noted:
                raise KernelError(step, error.errno or errno.EIO) from error
        if wanted.key in noted and noted[wanted.key].value == wanted.value:
            self._journal.forget([encode_word(noted[wanted.key])])

    def _read(self, one: Sysctl) -> str | None:
        try:
            return self._routes.inside(one.namespace, lambda: path_of(one).read_text().strip())
        except (OSError, NamespaceMissingError):
            return None


def read_setting(routes: RouteClients, namespace: Namespace, key: str) -> str | None:
    """The value of any setting below ``net``, as ``ipv4/conf/all/forwarding``; None if none."""
    try:
        return routes.inside(namespace, lambda: (SETTINGS / key).read_text().strip())
    except (OSError, NamespaceMissingError):
        return None


def path_of(one: Sysctl, settings: Path = SETTINGS) -> Path:
    """Its file."""
    return settings / one.family / "conf" / one.device / one.name


def encode_word(one: Sysctl) -> str:
    """A setting in one line of a journal."""
    return "\t".join((one.family, one.device, one.name, one.value, one.namespace or ""))


def parse_word(word: str) -> Sysctl | None:
    """From a line of a journal; None if it is damaged."""
    parts = word.split("\t")
    if len(parts) != 5:
        return None
    family, device, name, value, namespace = parts
    return Sysctl(family, device, name, value, namespace or None)
