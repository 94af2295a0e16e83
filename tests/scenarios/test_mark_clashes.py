"""A clash of marks with others is found before anything is installed, and named."""

import re

import pytest

from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run

pytestmark = pytest.mark.root


def with_default(pair: Pair) -> None:
    text = re.sub(
        r"^routes = .*$", 'routes = ["0.0.0.0/0"]', pair.paris.file.read_text(), flags=re.M
    )
    pair.paris.file.write_text(text)


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_rule_of_others_that_would_take_esp(plane: str, command: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        here = pair.paris.namespace
        run(here, "ip rule add fwmark 0x1/0xff priority 77 lookup 77")
        before = run(here, "ip link") + run(here, "ip rule")
        done = pair.paris.plutino(command, pair.paris.file)
        assert done.returncode == 2, done.stdout
        assert "ip rule 77 (fwmark 0x1/0xff lookup 77) takes outer packets" in done.stderr
        assert "hint: choose another `mark-mask`" in done.stderr
        assert run(here, "ip link") + run(here, "ip rule") == before
        text = pair.paris.file.read_text()
        pair.paris.file.write_text(f"mark-mask = 0xff00\n{text}")
        assert pair.paris.plutino(command, pair.paris.file).returncode == 0


def test_a_rule_of_nftables_that_would_let_packets_pass_by(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        with_default(pair)
        here = pair.paris.namespace
        hook = "{ type filter hook output priority mangle ; }"
        run(
            here,
            "nft add table inet theirs",
            f"nft add chain inet theirs out {hook}",
            "nft add rule inet theirs out ip daddr 198.51.100.0/24 meta mark set 0x20",
        )
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 2, done.stdout
        assert re.search(
            r"mark-mask: nftables inet theirs out handle \d+ sets bits 0x20", done.stderr
        )
        run(here, "nft delete table inet theirs")
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0


def test_one_that_comes_later_is_told_and_nothing_stops(plane: str) -> None:
    with running_pair(plane=plane) as pair:
        run(pair.paris.namespace, "ip rule add fwmark 0x1/0xff priority 77 lookup 77")
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 3
        assert "takes outer packets" in done.stdout + done.stderr
