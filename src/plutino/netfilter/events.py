"""Changes of nftables, told as they happen (``linux/netfilter/nfnetlink.h``)."""

from typing import Final

from plutino.netlink.socket import NetlinkSocket, NotificationsLostError

NETLINK_NETFILTER: Final = 12
_NFNLGRP_NFTABLES: Final = 7


class NetfilterEvents:
    """Hears of changes of one table, among those of all. Raises PlaneError without nftables."""

    def __init__(self, table: str) -> None:
        self._table = table.encode() + b"\0"
        self._socket = NetlinkSocket.kernel(NETLINK_NETFILTER, groups=1 << (_NFNLGRP_NFTABLES - 1))

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def changed(self) -> bool:
        """Read what has come; whether the table is named in any of it, or something was lost."""
        found = False
        try:
            while messages := self._socket.receive(0):
                found |= any(self._table in one.payload for one in messages)
        except NotificationsLostError:
            return True
        return found

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
