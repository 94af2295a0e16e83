"""CHILD_SAs and IKE SAs get new keys while packets flow, by one end or by both at once."""

import pytest

from plutino.lab.hosts import Host
from tests.support.ike_lab import ike_pair, until_it_passes
from tests.support.lab import Pair
from tests.support.rekeys import IKE_REKEYS, OFTEN, REKEYS, Changes, traffic, until_so_many

SELDOM = 'esp-proposals = ["aes256gcm16-noesn"]'
AT_ONCE = OFTEN.replace("rekey-jitter = 0.5", "rekey-jitter = 0")
"""At both ends the same packet is the last one of an SA, and the same second that of an IKE SA."""
_PROTOCOL, _SPI = slice(23, 24), slice(34, 38)
_ESP = b"\x32"


class SpisOnTheWire:
    """Of ESP over IPv4, counted as far as frames have been seen."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._place = 0
        self._spis: set[bytes] = set()

    def count(self) -> int:
        """One for each SA that packets have left by."""
        while self._place < len(self._pair.seen):
            frame, _ = self._pair.seen[self._place]
            self._place += 1
            if frame[_PROTOCOL] == _ESP:
                self._spis.add(frame[_SPI])
        return len(self._spis)


def ike_spi(host: Host) -> object:
    """The initiator's, of the IKE SA that the first tunnel has."""
    report = host.status()
    ike = None if report is None else report.tunnels[0].ike
    return None if ike is None else ike.initiator_spi


@pytest.mark.parametrize(
    ("paris", "berlin", "there", "back"),
    [
        pytest.param(OFTEN, SELDOM, True, True, id="one"),
        pytest.param(OFTEN, SELDOM, True, False, id="one-which-alone-sends"),
        pytest.param(OFTEN, SELDOM, False, True, id="one-which-only-receives"),
        pytest.param(OFTEN, OFTEN, True, True, id="both"),
        pytest.param(AT_ONCE, AT_ONCE, True, True, id="both-at-once"),
    ],
)
def test_nothing_is_lost_and_nothing_comes_twice(
    plane: str, paris: str, berlin: str, there: bool, back: bool
) -> None:
    with ike_pair(plane, paris=paris, berlin=berlin) as pair:
        until_it_passes(pair)
        with traffic(pair, there=there, back=back):
            spis = SpisOnTheWire(pair)
            ikes = Changes(lambda: ike_spi(pair.paris))
            until_so_many(lambda: spis.count() // (there + back), REKEYS, "CHILD_SAs")
            until_so_many(ikes.count, IKE_REKEYS, "IKE SAs")
        pair.assert_nothing_in_clear()
