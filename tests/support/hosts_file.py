"""A host whose resolver reads files of the test's own, and asks nobody."""

from typing import Final

from plutino.lab.hosts import Host

_BIND: Final = (
    'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'
)


class HostsFile:
    """What the daemon of ``host`` has for /etc/hosts, from its next start on."""

    def __init__(self, host: Host) -> None:
        self._file = host.folder / "hosts"
        order = host.folder / "nsswitch.conf"
        order.write_text("hosts: files\n")
        self.clear()
        apart = "unshare", "--mount", "--propagation", "private"
        host.launcher = (*apart, "sh", "-c", _BIND, self._file, order)

    def clear(self) -> None:
        """No name is known."""
        self._file.write_text("")

    def set(self, name: str, *addresses: str) -> None:
        """One name alone is known; the file stays the same one, as a bind mount needs it."""
        self._file.write_text("".join(f"{one} {name}\n" for one in addresses))
