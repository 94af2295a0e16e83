"""A clash of marks with others is found before anything is installed, and named."""

import os
import re

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.demo import BERLIN, OUTER, PARIS
from plutino.lab.guest.run import GUEST_VARIABLE
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run

pytestmark = pytest.mark.root

IPTABLES = (
    ("iptables-nft",) if GUEST_VARIABLE in os.environ else ("iptables-nft", "iptables-legacy")
)
"""A guest's kernel has the newer one alone."""


def with_default(pair: Pair) -> None:
    text = re.sub(
        r"^routes = .*$", 'routes = ["0.0.0.0/0", "::/0"]', pair.paris.file.read_text(), flags=re.M
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


@pytest.mark.parametrize("program", IPTABLES)
def test_a_rule_of_a_real_iptables(plane: str, program: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        with_default(pair)
        here = pair.paris.namespace
        rule = "OUTPUT -d 198.51.100.0/24 -j MARK --set-xmark 0x20/0xff"
        run(here, f"{program} -t mangle -A {rule}")
        before = run(here, "ip link") + run(here, "ip rule")
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 2, done.stdout
        assert re.search(
            rf"mark-mask: ({program}|iptables)\b.* OUTPUT .*sets bits 0x20", done.stderr
        )
        assert run(here, "ip link") + run(here, "ip rule") == before
        run(here, f"{program} -t mangle -D {rule}")
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0


def test_who_takes_the_mark_off_every_packet(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        with_default(pair)
        here = pair.paris.namespace
        hook = "{ type route hook output priority mangle ; }"
        run(
            here,
            "nft add table ip theirs",
            f"nft add chain ip theirs out {hook}",
            "nft add rule ip theirs out meta mark set ct mark",
        )
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 2, done.stdout
        assert re.search(
            r"mark-mask: nftables ip theirs out handle \d+ takes bits 0x1 from", done.stderr
        )
        run(
            here,
            "nft flush chain ip theirs out",
            "nft add rule ip theirs out meta mark set meta mark or 0x1000000",
        )
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0


def test_what_may_be_in_the_way_is_told(plane: str) -> None:
    """A rule that drops packets with our mark may look at more, so nothing is refused."""
    with running_pair(plane=plane, start=False) as pair:
        here = pair.paris.namespace
        run(
            here,
            "nft add table ip theirs",
            "nft add chain ip theirs out { type filter hook output priority 0 ; }",
            "nft add rule ip theirs out ip daddr 203.0.113.0/24 meta mark 0x1 drop",
        )
        for command, code in (("doctor", 0), ("plan", 0), ("apply", 3), ("plan", 0)):
            done = pair.paris.plutino(command, pair.paris.file)
            assert done.returncode == code, done.stderr
            assert "drops packets with mark 0x1/0xffffffff" in done.stdout + done.stderr


def test_another_plutino_whose_mask_is_another(plane: str) -> None:
    """Each would take the other's ESP into its tunnel."""
    with running_pair(6, plane=plane, start=False) as pair:
        with_default(pair)
        first, *_ = pair.paris.file.read_text().splitlines()
        green = pair.paris.folder / "green.toml"
        green.write_text(
            f'{first}\ninstance = "green"\nmark-mask = 0xff00\n[tunnels.berlin]\n'
            f'interface = "ipsec9"\nlocal = "{OUTER[6][PARIS]}"\nremote = "{OUTER[6][BERLIN]}"\n'
            f'routes = ["{OUTER[6][BERLIN]}/128"]\nstatic.key-file = "green.keys"\n'
        )
        keys = pair.paris.folder / "green.keys"
        keys.touch(mode=0o600)
        keys.write_text(encode_keys(generate_pair(os.urandom)[0], used_at=PARIS, peer=BERLIN))
        try:
            assert pair.paris.plutino("apply", green).returncode == 0
            done = pair.paris.plutino("apply", pair.paris.file)
            assert done.returncode == 2, done.stdout
            assert re.search(
                r"mark-mask: ip -6 rule \d+ \(fwmark 0x0/0xff00 .* is another plutino's",
                done.stderr,
            )
            text = pair.paris.file.read_text()
            pair.paris.file.write_text(f"mark-mask = 0xff00\n{text}")
            done = pair.paris.plutino("apply", pair.paris.file)
            assert done.returncode == 0, done.stderr
        finally:
            pair.paris.plutino("down", "--instance", "green")


def test_one_that_comes_later_is_told_and_nothing_stops(plane: str) -> None:
    with running_pair(plane=plane) as pair:
        run(pair.paris.namespace, "ip rule add fwmark 0x1/0xff priority 77 lookup 77")
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 3
        assert "takes outer packets" in done.stdout + done.stderr
