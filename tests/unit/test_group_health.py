"""Routes of groups by which tunnels are lost, and groups over time on a virtual clock."""

import random

import pytest

from plutino.config.load import load_text
from plutino.desired.compile import compile_gateway
from plutino.desired.groups import ANY_GATEWAY
from plutino.desired.health import Health
from plutino.desired.rules import DEFAULT_TABLE
from plutino.desired.state import DesiredState, ObservedState, Surroundings
from plutino.model.group import describe_group
from plutino.model.link import Link, NextHop, Route, RouteType, link_alias
from plutino.model.probe import LONGEST_HOLD, Probe, Ways
from plutino.model.subject import describe
from plutino.plan.diff import diff
from plutino.plan.step import StepAction
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.gateways import keys_of

NUMBERS = {"a": 1, "b": 2, "c": 3}
GROUP = """
[groups.site]
tunnels = ["a", "b", "c"]
routes = [{routes}]
{more}
"""


def text(more: str = "", routes: str = '"10.2.0.0/16", "2001:db8:2::/48"', tail: str = "") -> str:
    tunnels = "".join(
        f"""
[tunnels.{name}]
interface = "ipsec{number}"
local = "192.0.2.{number}"
remote = "198.51.100.{number}"
addresses = ["169.254.{number}.2/30"]
static.key-file = "{name}.keys"
"""
        for name, number in NUMBERS.items()
    )
    return GROUP.format(routes=routes, more=more) + tunnels + tail


def compiled(source: str, *lost: str, missing: frozenset[str] = frozenset()) -> DesiredState:
    gateway = load_text(source, "gateway.toml")
    ways = Ways(frozenset(f"tunnel {one}" for one in lost))
    around = Surroundings(ways=ways, missing=missing)
    return compile_gateway(gateway, keys_of(gateway), surroundings=around, sequences={})


def shown_ways(state: DesiredState, version: int = 4) -> list[str]:
    """The routes of the group's prefix, the best first, without the prefix."""
    (group,) = state.groups
    found = [one for one in group.routes if one.destination.version == version]
    return [describe(one).split(maxsplit=2)[2] for one in sorted(found, key=lambda one: one.metric)]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("", ["ipsec1 50", "ipsec2 51", "ipsec3 52"]),
        ("a", ["ipsec2 51", "ipsec3 52", "ipsec1 1050"]),
        ("b", ["ipsec1 50", "ipsec3 52", "ipsec2 1051"]),
        ("ab", ["ipsec3 52", "ipsec1 1050", "ipsec2 1051"]),
        ("abc", ["ipsec1 50", "ipsec2 51", "ipsec3 52"]),
    ],
)
@pytest.mark.parametrize("version", [4, 6])
def test_a_lost_tunnel_stands_behind_the_others(
    lost: str, expected: list[str], version: int
) -> None:
    state = compiled(text(), *lost)
    assert shown_ways(state, version) == [
        f"dev {one.split()[0]} metric {one.split()[1]}" for one in expected
    ]
    (group,) = state.groups
    assert [one.tunnel for one in group.members if one.lost] == list(lost)
    assert [one.interface for one in group.members if one.active] == [expected[0].split()[0]]


def test_ecmp_is_one_route_over_all_that_are_not_lost() -> None:
    more = 'mode = "ecmp"\nweights = { b = 3 }'
    assert shown_ways(compiled(text(more))) == [
        "nexthop dev ipsec1 weight 1 nexthop dev ipsec2 weight 3 nexthop dev ipsec3 weight 1 "
        "metric 50"
    ]
    assert shown_ways(compiled(text(more), "a")) == [
        "nexthop dev ipsec2 weight 3 nexthop dev ipsec3 weight 1 metric 50",
        "dev ipsec1 metric 1050",
    ]
    assert shown_ways(compiled(text(more), "a", "c")) == [
        "dev ipsec2 metric 50",
        "dev ipsec1 metric 1050",
        "dev ipsec3 metric 1052",
    ]
    assert shown_ways(compiled(text(more), "a", "b", "c")) == shown_ways(compiled(text(more)))


def test_ipv6_spreads_over_gateways_alone() -> None:
    state = compiled(text('mode = "ecmp"'), "c")
    best = [one for one in state.routes if one.destination.version == 6 and one.metric == 50]
    assert [one.nexthops for one in best] == [
        (NextHop("ipsec1", ANY_GATEWAY), NextHop("ipsec2", ANY_GATEWAY))
    ]
    (alone,) = (
        one
        for one in compiled(text('mode = "ecmp"'), "b", "c").routes
        if one.destination.version == 6 and one.metric == 50
    )
    assert (alone.interface, alone.gateway) == ("ipsec1", ANY_GATEWAY)


def test_each_prefix_has_one_twin() -> None:
    for mode in ("active-standby", "ecmp"):
        twins = [
            str(one.destination)
            for one in compiled(text(f'mode = "{mode}"')).routes
            if one.route_type is RouteType.UNREACHABLE
        ]
        assert len(twins) == len(set(twins))
        assert {"10.2.0.0/16", "2001:db8:2::/48"} <= set(twins)


def test_what_covers_a_peer_stands_in_the_own_table_behind_rules() -> None:
    state = compiled(text(routes='"0.0.0.0/0"'), "a")
    assert {one.table for one in state.groups[0].routes} == {DEFAULT_TABLE}
    assert [one.suppress_prefix_length for one in state.rules] == [0, None]


def test_probes_go_through_each_tunnel_from_its_own_address() -> None:
    probes = compiled(text("probe.interval = 0.2"), "a").probes
    assert [(one.key, one.interface, str(one.source)) for one in probes] == [
        (f"tunnel {name}", f"ipsec{number}", f"169.254.{number}.2")
        for name, number in NUMBERS.items()
    ]
    assert {(one.mark, one.interval, one.silence_is_loss) for one in probes} == {(0, 0.2, True)}
    assert compiled(text('probe.kind = "none"')).probes == ()
    tcp = compiled(text('probe.kind = "tcp"\nprobe.port = 179')).probes
    assert {one.port for one in tcp} == {179}


def test_a_group_waits_for_its_namespace() -> None:
    places = "".join(
        f'[interfaces.ipsec{number}]\nnamespace = "red"\n' for number in NUMBERS.values()
    )
    state = compiled(text(tail=places), missing=frozenset({"red"}))
    assert (state.groups[0].routes, state.probes) == ((), ())
    there = compiled(text(tail=places))
    assert {one.namespace for one in there.groups[0].routes} == {"red"}
    assert {one.namespace for one in there.probes} == {"red"}


def test_a_tunnel_without_an_address_of_ours_is_lost_at_once() -> None:
    source = (
        text().replace('local = "192.0.2.1"\n', 'uplinks = ["isp1"]\n')
        + '[uplinks.isp1]\ninterface = "eth1"\n'
    )
    (group,) = compiled(source).groups
    assert [one.tunnel for one in group.members if one.lost] == ["a"]


def test_the_words_for_what_is_wrong() -> None:
    assert [
        describe_group(compiled(text(), *lost).groups[0]) for lost in ("", "a", "ac", "abc")
    ] == [
        None,
        "group 'site': tunnel 'a' is lost, 'b' carries its traffic",
        "group 'site': tunnels 'a', 'c' are lost, 'b' carries its traffic",
        "group 'site': all tunnels are lost, 'a', 'b', 'c'",
    ]


def observed(state: DesiredState) -> ObservedState:
    """All of it is there."""
    links = tuple(
        Link(9 + one.if_id, one.name, "xfrm", one.mtu, True, link_alias("default"), one.if_id, True)
        for one in state.interfaces
    )
    return ObservedState(
        links=links,
        addresses=state.addresses,
        policies=state.policies,
        sas=state.sas,
        routes=state.routes,
        rules=state.rules,
        netfilter=state.netfilter,
    )


@pytest.mark.parametrize("mode", ["active-standby", "ecmp"])
def test_every_change_is_of_routes_alone_and_leaves_no_moment_without_a_way(mode: str) -> None:
    """From any set of lost tunnels to any other."""
    source = text(f'mode = "{mode}"')
    sets = [
        "".join(name for bit, name in enumerate(NUMBERS) if number >> bit & 1)
        for number in range(8)
    ]
    for before in sets:
        start = compiled(source, *before)
        for after in sets:
            there = {(one.destination, one.metric): one for one in start.groups[0].routes}
            goal = compiled(source, *after)
            for step in diff(goal, observed(start)):
                route = step.subject
                assert isinstance(route, Route)
                if step.action is StepAction.DELETE:
                    del there[route.destination, route.metric]
                else:
                    is_new = (route.destination, route.metric) not in there
                    assert is_new == (step.action is StepAction.CREATE)
                    there[route.destination, route.metric] = route
                assert len({destination for destination, _metric in there}) == 2
            assert set(there.values()) == set(goal.groups[0].routes)


# --- over time


STEP = 0.1


class Site:
    """Two tunnels that are asked in turn; ``delay`` gives the seconds of an answer, or None."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.health = Health()
        self.health.watch(Probe(f"tunnel {one}", (), silence_is_loss=True) for one in ("a", "b"))
        self.now = 0.0
        self.cut: set[str] = set()
        self.loss = 0.0
        self.jitter = 0.02
        self.coming: list[tuple[float, str]] = []
        self.changes: list[tuple[float, str]] = []
        self.active = "a"

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            due = sorted(one for one in self.coming if one[0] <= self.now)
            self.coming = [one for one in self.coming if one[0] > self.now]
            for at, name in due:
                self.health.ways[f"tunnel {name}"].answered(at)
            self._look()
            for name in ("a", "b"):
                self.health.ways[f"tunnel {name}"].asked(self.now)
                if name not in self.cut and self.random.random() >= self.loss:
                    self.coming.append((self.now + self.random.uniform(0, self.jitter), name))
            self._look()
            self.now += STEP

    def lost(self, name: str) -> bool:
        return f"tunnel {name}" in self.health.lost

    def _look(self) -> None:
        """As `active-standby` chooses."""
        active = next((one for one in ("a", "b") if not self.lost(one)), "a")
        if active != self.active:
            self.changes.append((self.now, active))
            self.active = active


def test_one_that_never_answered_is_left_and_used_at_its_first_answer() -> None:
    site = Site()
    site.cut = {"a"}
    site.run(1)
    assert (site.active, site.health.unanswered) == ("b", frozenset({"tunnel a"}))
    site.cut = set()
    site.run(0.3)
    assert site.active == "a"


def test_a_tunnel_that_comes_and_goes_is_left_alone_for_longer_and_longer() -> None:
    """Every 3 seconds for 10 minutes."""
    site = Site()
    site.run(1)
    for _ in range(100):
        site.cut = {"a"}
        site.run(3)
        site.cut = set()
        site.run(3)
    assert 1 <= len(site.changes) <= 5, site.changes
    assert site.changes[-1][0] < 60, "in the end it is left alone"
    site.run(LONGEST_HOLD + 1)
    assert site.active == "a"


@pytest.mark.parametrize("up", [3, 5, 9, 17, 33])
def test_the_switches_become_rarer(up: int) -> None:
    """However long it stays each time: each use takes twice the hold of the one before."""
    site = Site()
    site.run(1)
    for _ in range(600 // (up + 3)):
        site.cut = {"a"}
        site.run(3)
        site.cut = set()
        site.run(up)
    assert len(site.changes) <= 11, site.changes
    first = sum(1 for at, _ in site.changes if at < 300)
    assert len(site.changes) - first <= first


def test_random_patterns() -> None:
    """Whatever is lost, late or out of order: switches are few, and in the end all is well."""
    most = 0
    for seed in range(2000 if EXHAUSTIVE else 500):
        site = Site(seed)
        site.jitter = site.random.choice((0.02, 0.15, 0.35))  # above 0.1 answers overtake others
        site.run(1)
        for _ in range(site.random.randint(1, 12)):
            site.cut = {one for one in ("a", "b") if site.random.random() < 0.4}
            site.loss = site.random.choice((0.0, 0.1, 0.5))
            site.run(site.random.uniform(0.1, 6))
        elapsed, changes = site.now, len(site.changes)
        # Two tunnels, each lost at most once for each hold of 2, 4, 8 ... seconds.
        assert changes <= 2 * 2 * (2 + (elapsed / 2 + 1).__trunc__().bit_length()), (seed, elapsed)
        most = max(most, changes)
        site.cut, site.loss = set(), 0.0
        site.run(LONGEST_HOLD + 1)
        assert (site.active, site.health.lost) == ("a", frozenset()), seed
    assert most > 2, "the patterns are worth their name"


def test_late_answers_out_of_order_are_no_loss() -> None:
    for seed in range(200):
        site = Site(seed)
        site.jitter = 0.45
        site.run(30)
        assert site.changes == []


def test_a_cut_tunnel_is_left_within_seven_tenths_of_a_second() -> None:
    for seed in range(200):
        site = Site(seed)
        site.run(2 + site.random.random())
        at = site.now
        site.cut = {"a"}
        site.run(1)
        ((left, active),) = site.changes
        assert active == "b"
        assert left - at <= 0.65
