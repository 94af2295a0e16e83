"""The kernel's verdict on packets that fit no policy, and what it was before ours."""

from plutino.dataplane.journal import Journal
from plutino.model.errors import KernelError
from plutino.model.policy import Default, PolicyDefaults
from plutino.netlink.xfrm_client import XfrmClient


class KernelDefaults:
    """XFRM_MSG_GETDEFAULT and XFRM_MSG_SETDEFAULT; the journal has what was there, if ours are."""

    def __init__(self, client: XfrmClient, journal: Journal) -> None:
        self._xfrm = client
        self._journal = journal

    def now(self) -> PolicyDefaults | None:
        """XFRM_MSG_GETDEFAULT; None where the kernel has none."""
        try:
            return self._xfrm.get_default()
        except KernelError:
            return None

    def former(self) -> PolicyDefaults | None:
        """What was there before ours, from the journal; None if ours are not set."""
        words = {word for word in self._journal.words if word}
        return parse_defaults(words.pop()) if len(words) == 1 else None

    def set(self, defaults: PolicyDefaults) -> None:
        """XFRM_MSG_SETDEFAULT, after what is there was written down."""
        before = self.former()
        if before is None:
            self._journal.note([encode_defaults(self._xfrm.get_default())])
        self._xfrm.set_default(defaults)
        if defaults == before:
            self._journal.forget(list(self._journal.words))


def encode_defaults(defaults: PolicyDefaults) -> str:
    """Policy defaults in one line of a journal."""
    return " ".join(
        one.name.lower() for one in (defaults.inbound, defaults.forward, defaults.outbound)
    )


def parse_defaults(line: str) -> PolicyDefaults | None:
    """From a line of a journal; None if it is damaged."""
    words = line.split()
    try:
        verdicts = [Default[word.upper()] for word in words]
    except KeyError:
        return None
    return PolicyDefaults(*verdicts) if len(verdicts) == 3 else None
