"""What ``disable_policy`` and ``disable_xfrm`` of an interface let by, and packets in clear that
arrive by it."""

from tests.guest_inside.conformance.packets import incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    ANY6,
    Ask,
    Inject,
    Run,
    Scenario,
    Send,
    Set,
    in_policy,
    in_sa,
    in_template,
    out_policy,
    out_sa,
    receives,
    scenario,
    templates,
)
from tests.support.raw_plane import SETDEFAULT

_NO_POLICY = (
    Set("ipv4/conf/ipsec1/disable_policy", "1", inside=True),
    Set("ipv6/conf/ipsec1/disable_policy", "1", inside=True),
)
_NO_XFRM = Set("ipv4/conf/ipsec1/disable_xfrm", "1", inside=True)
_CLEAR = (
    Run("qdisc add dev wire clsact", "qdisc del dev wire clsact", "tc"),
    Run(
        "filter add dev wire ingress protocol all matchall action mirred ingress redirect dev "
        "ipsec1",
        program="tc",
    ),
)
"""What comes from the peer now arrives as if by the interface."""
_BLOCKED_BY_DEFAULT = Ask(SETDEFAULT, b"\1\0\0\0")
_IN4 = in_policy()
_IN6 = in_policy(ANY6, templates(in_template()))

_ARRIVING: dict[str, tuple[Ask, ...]] = {
    "no policy": (),
    "policy": (_IN4,),
    "policy of if_id 0": (in_policy(tied=0),),
    "policy of another if_id": (in_policy(tied=2),),
    "block": (in_policy(action=1, attributes=b""),),
    "default blocks": (_BLOCKED_BY_DEFAULT,),
}
_BY_AN_SA: dict[str, tuple[Ask, ...]] = {
    "no policy": (in_sa(),),
    "policy of another if_id": (in_policy(tied=2), in_sa()),
    "other reqid": (_IN4, in_sa(reqid=8)),
    "block": (in_policy(action=1), in_sa()),
    "default blocks": (_BLOCKED_BY_DEFAULT, in_sa()),
    "SA of another device": (_IN4, in_sa(tied=2)),
}

SCENARIOS: tuple[Scenario, ...] = (
    scenario("in clear by the wire: policy", _IN4, Inject(incoming())),
    scenario(
        "in clear by the wire: policy and a reverse path",
        _IN4,
        Set("ipv4/conf/wire/rp_filter", "1"),
        Inject(incoming()),
    ),
    *(
        scenario(f"in clear: {name}", *steps, *_CLEAR, Inject(incoming()))
        for name, steps in _ARRIVING.items()
    ),
    scenario("in clear: IPv6 and policy", _IN6, *_CLEAR, Inject(incoming(6))),
    *(
        scenario(
            f"in clear without check: {name}", *_NO_POLICY, *steps, *_CLEAR, Inject(incoming())
        )
        for name, steps in _ARRIVING.items()
    ),
    scenario(
        "in clear without check: IPv6 and policy", *_NO_POLICY, _IN6, *_CLEAR, Inject(incoming(6))
    ),
    *(
        scenario(f"in without check: {name}", *_NO_POLICY, *steps, receives(incoming()))
        for name, steps in _BY_AN_SA.items()
    ),
    scenario("in without check: IPv6 and no policy", *_NO_POLICY, in_sa(), receives(incoming(6))),
    scenario("out without check: no policy", *_NO_POLICY, out_sa(), Send(outgoing())),
    scenario("out without check: policy", *_NO_POLICY, out_policy(), out_sa(), Send(outgoing())),
    scenario("out without XFRM: policy", _NO_XFRM, out_policy(), out_sa(), Send(outgoing())),
)
