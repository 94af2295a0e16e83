"""Requests about policies; which policy and which SA a packet gets."""

from tests.guest_inside.conformance.packets import INNER_LOCAL, INNER_REMOTE, incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    ANY6,
    Ask,
    Scenario,
    Send,
    dump_policies,
    in_policy,
    in_sa,
    in_template,
    out_policy,
    out_sa,
    out_template,
    receives,
    scenario,
    templates,
)
from tests.support.policy_wire import policy, policy_id, selector, template
from tests.support.raw_plane import (
    DELPOLICY,
    FLUSHPOLICY,
    GETDEFAULT,
    GETPOLICY,
    GETSPDINFO,
    NEWPOLICY,
    SETDEFAULT,
    UPDPOLICY,
)
from tests.support.sa_wire import PLAIN, direction, if_id, mark

_NARROW = selector(INNER_LOCAL[4], INNER_REMOTE[4], prefixes=(32, 32))
_TEMPLATE = templates(template())
_REFUSALS = {
    "share": policy(share=4),
    "action": policy(action=2),
    "family": policy(selector(family=3)),
    "prefix": policy(selector(prefixes=(33, 0))),
    "direction": policy(direction=3),
    "index": policy(index=8),
    "seven templates": policy() + templates(*[template()] * 7),
    "mode of a template": policy() + templates(template(mode=6)),
    "optional going out": policy() + templates(template(optional=1)),
    "family of a template": policy() + templates(template(family=3)),
    "transport between families": policy() + templates(template(mode=0, family=10)),
    "protocol of a template": policy() + templates(template(protocol=17)),
    "SA_DIR": policy() + direction(1),
    "short": policy()[:-1],
}
_REQUESTS: dict[str, tuple[Ask, ...]] = {
    "twice": (
        Ask(NEWPOLICY, policy() + _TEMPLATE),
        Ask(NEWPOLICY, policy() + _TEMPLATE),
        Ask(UPDPOLICY, policy(priority=5) + _TEMPLATE),
        dump_policies(),
    ),
    "if_id is identity": (
        Ask(NEWPOLICY, policy() + _TEMPLATE),
        Ask(NEWPOLICY, policy() + _TEMPLATE + if_id(1)),
        Ask(NEWPOLICY, policy() + _TEMPLATE + if_id(2)),
        Ask(GETPOLICY, policy_id() + if_id(2)),
        Ask(DELPOLICY, policy_id() + if_id(3)),
        Ask(DELPOLICY, policy_id() + if_id(1)),
        Ask(DELPOLICY, policy_id(bytes(56), index=9) + if_id(2)),
        dump_policies(),
    ),
    "mark is identity": (
        Ask(NEWPOLICY, policy() + _TEMPLATE + mark(1, 3)),
        Ask(NEWPOLICY, policy() + _TEMPLATE + mark(1, 1)),
        Ask(GETPOLICY, policy_id() + mark(1, 3)),
        Ask(GETPOLICY, policy_id() + mark(1, 7)),
        Ask(DELPOLICY, policy_id()),
        dump_policies(),
    ),
    "three directions": (
        *(Ask(NEWPOLICY, policy(direction=one) + _TEMPLATE) for one in range(3)),
        dump_policies(),
        Ask(GETSPDINFO, bytes(4)),
        Ask(FLUSHPOLICY),
        Ask(FLUSHPOLICY),
        dump_policies(),
    ),
    "absent": (
        Ask(GETPOLICY, policy_id()),
        Ask(DELPOLICY, policy_id()),
        Ask(DELPOLICY, policy_id(direction=3)),
    ),
    "defaults": (
        Ask(GETDEFAULT, bytes(4)),
        Ask(SETDEFAULT, b"\1\0\2\0"),
        Ask(GETDEFAULT, bytes(4)),
        Ask(SETDEFAULT, b"\3\0\2\0"),
        Ask(SETDEFAULT, b"\1"),
    ),
}

_MATCHING: dict[str, tuple[Ask | Send, ...]] = {
    "no policy": (Send(outgoing()),),
    "no policy, IPv6": (Send(outgoing(6)),),
    "policy without SA": (out_policy(), Send(outgoing())),
    "policy of if_id 0": (out_policy(tied=0), out_sa(), Send(outgoing())),
    "policy and SA of if_id 0": (out_policy(tied=0), out_sa(tied=0), Send(outgoing())),
    "policy of another if_id": (out_policy(tied=2), out_sa(tied=2), Send(outgoing())),
    "SA of if_id 0": (out_policy(), out_sa(tied=0), Send(outgoing())),
    "SA of another if_id": (out_policy(), out_sa(tied=2), Send(outgoing())),
    "policy and SA": (out_policy(), out_sa(), Send(outgoing())),
    "IPv6 inside": (out_policy(ANY6), out_sa(), Send(outgoing(6))),
    "policy of the other family": (out_policy(ANY6), out_sa(), Send(outgoing())),
    "other reqid": (out_policy(), out_sa(reqid=8), Send(outgoing())),
    "any reqid": (
        out_policy(attributes=templates(out_template(reqid=0))),
        out_sa(reqid=8),
        Send(outgoing()),
    ),
    "other mode": (out_policy(), out_sa(mode=4), Send(outgoing())),
    "block": (out_policy(action=1), out_sa(), Send(outgoing())),
    "allow without template": (out_policy(attributes=b""), Send(outgoing())),
    "narrow block before a wide one": (
        out_policy(),
        out_policy(_NARROW, action=1, priority=50),
        out_sa(),
        Send(outgoing()),
        Send(outgoing(destination="10.2.0.2")),
    ),
    "wide one before a narrow block": (
        out_policy(priority=50),
        out_policy(_NARROW, action=1),
        out_sa(),
        Send(outgoing()),
    ),
    "narrow block after a wide one at the same priority": (
        out_policy(),
        out_policy(_NARROW, action=1),
        out_sa(),
        Send(outgoing()),
    ),
    "port that is blocked": (
        out_policy(),
        out_policy(
            selector("0.0.0.0", "0.0.0.0", prefixes=(0, 0), protocol=17, ports=(9, 0xFFFF, 0, 0)),
            action=1,
            priority=1,
        ),
        out_sa(),
        Send(outgoing(ports=(5000, 9))),
        Send(outgoing()),
    ),
    "policy of a mark": (
        out_policy(attributes=templates(out_template()) + mark(1, 1)),
        out_sa(),
        Send(outgoing()),
        Send(outgoing(), mark=3),
    ),
    "SA of a mark": (
        out_policy(attributes=templates(out_template()) + mark(1, 1)),
        out_sa(PLAIN + mark(1, 1)),
        Send(outgoing(), mark=1),
        Send(outgoing(), mark=2),
    ),
    "SA of a mark and policy of none": (
        out_policy(),
        out_sa(PLAIN + mark(1, 1)),
        Send(outgoing(), mark=1),
    ),
    "newest SA": (
        out_policy(),
        out_sa(spi=1),
        out_sa(spi=2),
        Send(outgoing()),
    ),
    "SA of the other direction": (
        out_policy(),
        Ask(0x10, out_sa().payload[:-5] + b"\1\0\0\0"),
        Send(outgoing()),
    ),
    "two templates": (
        out_policy(attributes=templates(out_template(), out_template(reqid=8))),
        out_sa(spi=1),
        out_sa(spi=2, reqid=8),
        Send(outgoing()),
    ),
    "two templates and one SA": (
        out_policy(attributes=templates(out_template(), out_template(reqid=8))),
        out_sa(spi=1),
        Send(outgoing()),
    ),
    "optional template without SA": (
        in_policy(attributes=templates(in_template(optional=1))),
        out_policy(attributes=templates(out_template())),
        Send(outgoing()),
    ),
    "default blocks": (Ask(SETDEFAULT, b"\0\0\1\0"), Send(outgoing())),
    "default blocks beside a policy": (
        Ask(SETDEFAULT, b"\0\0\1\0"),
        out_policy(_NARROW),
        out_sa(),
        Send(outgoing(destination="10.2.0.2")),
    ),
    "second device": (
        out_policy(tied=2),
        out_sa(tied=2),
        Send(outgoing(destination="10.3.0.1")),
        Send(outgoing()),
    ),
    "second device of if_id 1": (
        out_policy(),
        out_sa(),
        Send(outgoing(destination="10.3.0.1")),
    ),
}
_IN_MATCHING = {
    "policy and SA": (in_policy(), in_sa()),
    "no policy": (in_sa(),),
    "policy of if_id 0": (in_policy(tied=0), in_sa()),
    "policy and SA of if_id 0": (in_policy(tied=0), in_sa(tied=0)),
    "SA of if_id 0": (in_policy(), in_sa(tied=0)),
    "policy of another if_id": (in_policy(tied=2), in_sa()),
    "SA of another device": (in_policy(), in_sa(tied=2)),
    "SA of another device with its policy": (in_policy(tied=2), in_sa(tied=2)),
    "SA without device": (in_policy(tied=9), in_sa(tied=9)),
    "other reqid": (in_policy(), in_sa(reqid=8)),
    "other addresses": (in_policy(attributes=templates(out_template())), in_sa()),
    "other mode": (in_policy(attributes=templates(in_template(mode=0))), in_sa()),
    "block": (in_policy(action=1), in_sa()),
    "allow without template": (in_policy(attributes=b""), in_sa()),
    "optional template": (in_policy(attributes=templates(in_template(optional=1))), in_sa()),
    "optional template of another": (
        in_policy(attributes=templates(in_template(optional=1, reqid=8))),
        in_sa(),
    ),
    "two templates and one SA": (
        in_policy(attributes=templates(in_template(), in_template(reqid=8))),
        in_sa(),
    ),
    "policy of a mark": (in_policy(attributes=templates(in_template()) + mark(1)), in_sa()),
    "SA of a mark": (in_policy(), in_sa(PLAIN + mark(1))),
    "policy of out alone": (out_policy(), in_sa()),
    "policy of other addresses": (in_policy(_NARROW), in_sa()),
    "default blocks": (Ask(SETDEFAULT, b"\1\0\0\0"), in_sa()),
}

SCENARIOS: tuple[Scenario, ...] = (
    *(
        scenario(f"refused: {name}", Ask(NEWPOLICY, payload), dump_policies())
        for name, payload in _REFUSALS.items()
    ),
    *(scenario(name, *steps) for name, steps in _REQUESTS.items()),
    *(scenario(f"out: {name}", *steps) for name, steps in _MATCHING.items()),
    *(
        scenario(f"in: {name}", *steps, receives(incoming()))
        for name, steps in _IN_MATCHING.items()
    ),
)
