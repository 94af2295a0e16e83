"""What the IKE process has to say of its peers: for the log, and why a tunnel is down."""

from collections.abc import Callable

from plutino.daemon.stranger_log import StrangerLog
from plutino.ike_process.outcome import Notice, NoticeKind


class IkeNoticeLog:
    """``failures`` are the last of each peer whose IKE SA is not up; ``log`` gets the words."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.failures: dict[str, str] = {}
        self._log = log
        self._strangers = StrangerLog(log)

    def tell(self, notice: Notice) -> None:
        """One; of strangers no more than the log should have."""
        peer = notice.peer
        reason = notice.reason if notice.reason.isprintable() else ascii(notice.reason)
        if not peer:
            self._strangers.tell(reason)
            return
        match notice.kind:
            case NoticeKind.UP:
                self.failures.pop(peer, None)
                self._log(f"tunnel '{peer}': the IKE SA is up")
            case NoticeKind.ENDED:
                self.failures[peer] = reason
                self._log(f"tunnel '{peer}': the IKE SA has ended: {reason}")
            case NoticeKind.REFUSED:
                self.failures[peer] = reason
                self._log(f"tunnel '{peer}': {reason}")
            case NoticeKind.NOT_ADOPTED:
                self._log(f"tunnel '{peer}': its saved IKE SA cannot be used: {reason}")
