"""MIGRATE: SAs and the templates of their policies go to other addresses."""

from tests.guest_inside.conformance.packets import Outer, incoming, outgoing, sealed
from tests.guest_inside.conformance.scenario import (
    ANY4,
    Ask,
    Inject,
    Scenario,
    Send,
    dump_policies,
    dump_sas,
    in_policy,
    in_sa,
    out_policy,
    out_sa,
    scenario,
)
from tests.support.policy_wire import migration, policy_id
from tests.support.raw_plane import MIGRATE, attribute
from tests.support.sa_wire import KMADDRESS, MIGRATE_LIST, PLAIN, encap, if_id

_OUT = ("192.0.2.2", "192.0.2.1"), ("192.0.2.3", "192.0.2.1")
_IN = ("192.0.2.1", "192.0.2.2"), ("192.0.2.1", "192.0.2.3")


def _moves(
    *entries: bytes, direction: int = 1, tied: int = 1, more: bytes = b"", chosen: bytes = ANY4
) -> Ask:
    told = policy_id(chosen, direction=direction) + attribute(MIGRATE_LIST, b"".join(entries))
    return Ask(MIGRATE, told + more + (if_id(tied) if tied else b""))


_STATE = (dump_sas(any_order=True), dump_policies())
SCENARIOS: tuple[Scenario, ...] = (
    scenario("of nothing", _moves(migration(*_OUT, reqid=7))),
    scenario("of a policy without SA", out_policy(), _moves(migration(*_OUT, reqid=7)), *_STATE),
    scenario("of SAs without policy", out_sa(), _moves(migration(*_OUT, reqid=7)), *_STATE),
    scenario(
        "out",
        out_policy(),
        out_sa(),
        Send(outgoing()),
        _moves(migration(*_OUT, reqid=7)),
        Send(outgoing()),
        *_STATE,
    ),
    scenario(
        "out with UDP",
        out_policy(),
        out_sa(),
        _moves(migration(*_OUT, reqid=7), more=encap()),
        Send(outgoing()),
        *_STATE,
    ),
    scenario(
        "out of UDP",
        out_policy(),
        out_sa(PLAIN + encap()),
        _moves(migration(*_OUT, reqid=7)),
        Send(outgoing()),
        *_STATE,
    ),
    scenario(
        "in",
        in_policy(),
        in_sa(window=32),
        Inject(sealed(incoming())),
        _moves(migration(*_IN, reqid=7), direction=0),
        Inject(sealed(incoming(), sequence=2, outer=Outer(source="192.0.2.3"))),
        Inject(sealed(incoming(), sequence=2, outer=Outer(source="192.0.2.3"))),
        Inject(sealed(incoming(), sequence=3)),
        *_STATE,
    ),
    scenario(
        "of another if_id",
        out_policy(),
        out_sa(),
        _moves(migration(*_OUT, reqid=7), tied=2),
        *_STATE,
    ),
    scenario(
        "of another reqid", out_policy(), out_sa(), _moves(migration(*_OUT, reqid=9)), *_STATE
    ),
    scenario("of any reqid", out_policy(), out_sa(), _moves(migration(*_OUT, reqid=0)), *_STATE),
    scenario(
        "of another mode",
        out_policy(),
        out_sa(),
        _moves(migration(*_OUT, reqid=7, mode=0)),
        *_STATE,
    ),
    scenario(
        "of two SAs",
        out_policy(),
        out_sa(spi=1),
        out_sa(spi=2),
        _moves(migration(*_OUT, reqid=7)),
        *_STATE,
    ),
    scenario(
        "to the same place",
        out_policy(),
        out_sa(),
        _moves(migration(_OUT[0], _OUT[0], reqid=7)),
        *_STATE,
    ),
    scenario(
        "to another family",
        out_policy(),
        out_sa(),
        _moves(migration(_OUT[0], ("2001:db8::2", "2001:db8::1"), reqid=7, families=(2, 10))),
        Send(outgoing()),
        *_STATE,
    ),
    scenario(
        "with the key manager's address",
        out_policy(),
        out_sa(),
        _moves(migration(*_OUT, reqid=7), more=attribute(KMADDRESS, bytes(range(1, 41)))),
    ),
    scenario("of no entries", out_policy(), _moves()),
    scenario("of seven entries", out_policy(), _moves(*[migration(*_OUT, reqid=7)] * 7)),
    scenario("of the same twice", out_policy(), _moves(*[migration(*_OUT, reqid=7)] * 2)),
    scenario("of no list", out_policy(), Ask(MIGRATE, policy_id(ANY4))),
    scenario("short", out_policy(), Ask(MIGRATE, policy_id(ANY4)[:-1])),
    scenario(
        "to nowhere",
        out_policy(),
        out_sa(),
        _moves(migration(_OUT[0], ("0.0.0.0", "192.0.2.1"), reqid=7)),
    ),
)
