"""`ike-sa-of`: what tunnels of one IKE SA have in common, and what tells them apart."""

import pytest

from plutino.config.load import load_text
from tests.support.gateways import gateway_text, refusal

OWN = '[tunnels.berlin.ike]\npsk-file = "x"\n'


def text(
    *, ike: str = 'ike.ike-sa-of = "berlin"', ts: str = 'remote-ts = ["10.2.0.0/16"]',
    remote: str = "198.51.100.2",
) -> str:  # fmt: skip
    own = gateway_text().replace('static.key-file = "berlin.keys"\n', OWN)
    return (
        f'{own}\n[tunnels.lab]\ninterface = "ipsec2"\nlocal = "192.0.2.1"\nremote = "{remote}"\n'
        f"{ts}\n{ike}\n"
    )


def test_it_needs_nothing_but_the_name() -> None:
    gateway = load_text(text(), "gateway.toml")
    assert gateway.tunnels["lab"].ike is not None


@pytest.mark.parametrize(
    ("words", "key", "why"),
    [
        (text(ike='ike.ike-sa-of = "rome"'), "ike.ike-sa-of", "no tunnel with an IKE SA of its"),
        (text(ike='ike.ike-sa-of = "lab"'), "ike.ike-sa-of", "no tunnel with an IKE SA of its"),
        (text(remote="198.51.100.3"), "remote", "must be that of tunnel 'berlin'"),
        (text(ts=""), "remote-ts", "are those of tunnel 'berlin'"),
        (
            text(ike='ike.ike-sa-of = "berlin"\nike.psk-file = "x"'),
            "ike.psk-file",
            "belongs to the IKE SA: write it at tunnel 'berlin'",
        ),
    ],
)
def test_what_cannot_be_is_refused(words: str, key: str, why: str) -> None:
    problem = refusal(words, f"tunnels.lab.{key}")
    assert why in problem.why
