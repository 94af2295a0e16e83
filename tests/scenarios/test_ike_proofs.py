"""Paris proves itself by a pre-shared key, and Berlin by a certificate."""

import pytest

from plutino.lab.demo import BERLIN, PARIS
from tests.support.ike_lab import PSK, ike_pair, passes, until_it_passes
from tests.support.pki import issue
from tests.support.until import until

NAMES = 'local-id = "{}.example"\nremote-id = "{}.example"\n'
BY_SHARED_KEY = 'local-psk-file = "berlin.psk"\nauthorities = "ca.pem"\n'
BY_CERTIFICATE = 'certificate = "own.pem"\nprivate-key = "own.key"\nremote-psk-file = "paris.psk"\n'


@pytest.mark.parametrize("begins", [PARIS, BERLIN])
def test_each_end_by_a_proof_of_its_own(plane: str, begins: str) -> None:
    """Until a reload has another authority for Berlin than the one that vouches for it."""
    start = {one: f'start = "{"now" if one == begins else "listen"}"\n' for one in (PARIS, BERLIN)}
    lines = {
        PARIS: NAMES.format(PARIS, BERLIN) + start[PARIS] + BY_SHARED_KEY,
        BERLIN: NAMES.format(BERLIN, PARIS) + start[BERLIN] + BY_CERTIFICATE,
    }
    root = issue("root", authority=True)
    berlin = issue(BERLIN, root, dns="berlin.example")
    with ike_pair(plane, paris=lines[PARIS], berlin=lines[BERLIN], start=False) as pair:
        authorities = pair.paris.folder / "ca.pem"
        authorities.write_bytes(root.pem)
        for name, octets in (("own.pem", berlin.pem), ("own.key", berlin.key_pem)):
            (pair.berlin.folder / name).touch(mode=0o600)
            (pair.berlin.folder / name).write_bytes(octets)
        for host in (pair.berlin, pair.paris):
            host.start_daemon()
        until_it_passes(pair)
        authorities.write_bytes(issue("another", authority=True).pem)
        assert pair.paris.plutino("apply", pair.paris.file).returncode in (0, 3)
        until(
            lambda: "no chain to an authority we trust" in pair.paris.log.read_text(),
            "Paris says why",
        )
        assert not passes(pair.paris)
        for host in (pair.paris, pair.berlin):
            assert PSK.strip() not in host.log.read_text()
        pair.assert_nothing_in_clear()
