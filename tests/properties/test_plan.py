"""Properties of the plan: nothing to do at the goal, and the goal reached from anywhere."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from plutino.desired.state import DesiredState, ObservedState
from plutino.model.algorithms import AeadKey
from plutino.model.interface import Interface
from plutino.model.link import Address, Link, NextHop, Route, RouteType, link_alias
from plutino.model.numbers import IfId, ReqId, Spi
from plutino.model.policy import Direction, Policy, Selector, Template
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.plan.diff import diff
from plutino.plan.step import Step, StepAction

NAMES = ("ipsec1", "ipsec2", "ipsec3")
PREFIXES = tuple(ip_network(f"10.{number}.0.0/16") for number in range(4))
HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")
FOREIGN = Link(9, "eth0", "veth", 1500, True)


def sa(spi: int, key: int) -> SecurityAssociation:
    return SecurityAssociation(
        spi=Spi(0x1000 + spi),
        source=HERE,
        destination=THERE,
        reqid=ReqId(0x70000001),
        if_id=IfId(1),
        keys=AeadKey("rfc4106(gcm(aes))", Secret(bytes([key]) * 20), 128),
        direction=SaDirection.OUT,
        replay=ReplayState(),
    )


def policy(prefix: int, priority: int) -> Policy:
    selector = Selector(ip_network("0.0.0.0/0"), PREFIXES[prefix])
    template = Template(HERE, THERE, ReqId(0x70000001))
    return Policy(Direction.OUT, selector, IfId(1), (template,), priority)


def ways(names: list[str]) -> st.SearchStrategy[list[Route]]:
    """Routes of one prefix: into one interface, or those of a group in any state."""
    ranked = st.permutations(names).map(
        lambda order: [
            Route(PREFIXES[0], name, metric=50 + rank) for rank, name in enumerate(order)
        ]
    )
    lost = st.tuples(ranked, st.integers(0, 3)).map(
        lambda one: [
            replace(route, metric=route.metric + 1000 * (one[1] >> rank & 1))
            for rank, route in enumerate(one[0])
        ]
    )
    spread = st.lists(st.sampled_from(names), unique=True, min_size=min(2, len(names))).map(
        lambda several: [
            Route(PREFIXES[0], None, metric=50, nexthops=tuple(map(NextHop, sorted(several))))
            if len(several) > 1
            else Route(PREFIXES[0], several[0], metric=50)
        ]
    )
    alone = st.sampled_from(names).map(lambda name: [Route(PREFIXES[0], name, metric=50)])
    return st.one_of(alone, lost, spread)


@st.composite
def desired_states(draw: st.DrawFn) -> DesiredState:
    """Any gateway: some interfaces, and objects on them."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    mtus = [draw(st.sampled_from((1280, 1400))) for _ in names]
    routes: list[Route] = [
        Route(prefix, None, RouteType.UNREACHABLE, metric=0xFFFF0001)
        for prefix in draw(st.sets(st.sampled_from(PREFIXES)))
    ]
    addresses: list[Address] = []
    if names:
        on_link = draw(st.dictionaries(st.sampled_from(PREFIXES), ways(names)))
        routes += [
            replace(one, destination=key) for key, several in on_link.items() for one in several
        ]
        addresses = [
            Address(name, ip_interface(f"10.255.0.{number}/31"))
            for number, name in draw(
                st.dictionaries(st.integers(0, 3), st.sampled_from(names))
            ).items()
        ]
    numbers = st.integers(0, 3)
    return DesiredState(
        instance="default",
        interfaces=tuple(
            Interface(name, IfId(int(name[-1])), mtu, dormant=draw(st.booleans()))
            for name, mtu in zip(names, mtus, strict=True)
        ),
        addresses=tuple(addresses),
        policies=tuple(
            policy(*one) for one in draw(st.dictionaries(numbers, st.integers(1, 2))).items()
        ),
        sas=tuple(sa(*one) for one in draw(st.dictionaries(numbers, st.integers(1, 2))).items()),
        routes=tuple(routes),
    )


class FakeSystem:
    """Carries out steps as strictly as the kernel does, the loss of a link included."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {FOREIGN.name: FOREIGN}
        self.objects: dict[object, object] = {}

    def carry_out(self, step: Step) -> None:
        subject = step.subject
        if isinstance(subject, Interface):
            self._change_link(step.action, subject)
            return
        key = self._key(subject)
        match step.action:
            case StepAction.CREATE:
                assert key not in self.objects, f"EEXIST: {step.describe()}"
                self._look_at_links(step)
                self.objects[key] = subject
            case StepAction.UPDATE:
                assert key in self.objects, f"ESRCH: {step.describe()}"
                self._look_at_links(step)
                self.objects[key] = subject
            case StepAction.DELETE:
                assert key in self.objects, f"ESRCH: {step.describe()}"
                del self.objects[key]
            case _:
                raise AssertionError(step.describe())

    def _look_at_links(self, step: Step) -> None:
        if isinstance(step.subject, Address):
            assert step.subject.interface in self.links, f"ENODEV: {step.describe()}"
        if isinstance(step.subject, Route):
            for name in step.subject.interfaces:
                assert name in self.links, f"ENODEV: {step.describe()}"
                assert self.links[name].up, f"ENETDOWN: {step.describe()}"

    def _change_link(self, action: StepAction, interface: Interface) -> None:
        name = interface.name
        match action:
            case StepAction.CREATE:
                assert name not in self.links, f"EEXIST: {name}"
                tag = link_alias("default")
                self.links[name] = Link(
                    1, name, "tun", interface.mtu, False, tag, interface.if_id, True
                )
            case StepAction.DELETE:
                del self.links[name]
                self.objects = {
                    key: one
                    for key, one in self.objects.items()
                    if getattr(one, "interface", None) != name
                    and not (isinstance(one, Route) and name in one.interfaces)
                }
            case StepAction.UPDATE:
                self.links[name] = replace(
                    self.links[name], mtu=interface.mtu, if_id=interface.if_id, attached=True
                )
            case StepAction.UP | StepAction.DOWN:
                self.links[name] = replace(self.links[name], up=action is StepAction.UP)
            case StepAction.REST | StepAction.WAKE:
                self.links[name] = replace(self.links[name], dormant=action is StepAction.REST)

    @staticmethod
    def _key(subject: object) -> object:
        if isinstance(subject, Policy | SecurityAssociation):
            return type(subject), subject.identity
        if isinstance(subject, Route):
            return Route, subject.destination, subject.metric
        return subject

    def observe(self) -> ObservedState:
        objects = self.objects.values()
        return ObservedState(
            links=tuple(self.links.values()),
            addresses=tuple(one for one in objects if isinstance(one, Address)),
            policies=tuple(one for one in objects if isinstance(one, Policy)),
            sas=tuple(one for one in objects if isinstance(one, SecurityAssociation)),
            routes=tuple(one for one in objects if isinstance(one, Route)),
        )

    def go_to(self, goal: DesiredState) -> None:
        for step in diff(goal, self.observe()):
            self.carry_out(step)

    def content(self) -> tuple[object, ...]:
        return dict(self.links), dict(self.objects)


@given(desired_states())
def test_nothing_to_do_at_the_goal(goal: DesiredState) -> None:
    system = FakeSystem()
    system.go_to(goal)
    assert diff(goal, system.observe()) == ()


@given(st.lists(desired_states(), max_size=4), desired_states())
def test_the_goal_is_the_same_place_from_anywhere(
    stops: list[DesiredState], goal: DesiredState
) -> None:
    traveller, direct = FakeSystem(), FakeSystem()
    for stop in stops:
        traveller.go_to(stop)
    traveller.go_to(goal)
    direct.go_to(goal)
    assert traveller.content() == direct.content()
    assert diff(goal, traveller.observe()) == ()


@given(desired_states(), desired_states(), st.data())
def test_steps_taken_back_leave_what_was_before(
    start: DesiredState, goal: DesiredState, data: st.DataObject
) -> None:
    system = FakeSystem()
    system.go_to(start)
    steps = diff(goal, system.observe())
    done = steps[: data.draw(st.integers(0, len(steps)))]
    before = system.content()
    for step in done:
        system.carry_out(step)
    for step in reversed(done):
        inverse = step.inverse()
        assert inverse is not None
        system.carry_out(inverse)
    assert system.content() == before


@given(desired_states(), desired_states())
def test_no_prefix_is_unguarded_on_the_way(start: DesiredState, goal: DesiredState) -> None:
    """A prefix guarded by a twin at both ends of the way is guarded at every step of it."""
    system = FakeSystem()
    system.go_to(start)

    def guarded() -> set[object]:
        return {
            one.destination
            for one in system.observe().routes
            if one.route_type is RouteType.UNREACHABLE
        }

    wanted = guarded() & {
        one.destination for one in goal.routes if one.route_type is RouteType.UNREACHABLE
    }
    for step in diff(goal, system.observe()):
        system.carry_out(step)
        assert wanted <= guarded()


@given(desired_states(), desired_states())
def test_no_prefix_is_without_a_way_on_the_way(start: DesiredState, goal: DesiredState) -> None:
    """What leads into an interface before and after, with its links untouched, always does."""
    goal = replace(goal, interfaces=start.interfaces, addresses=start.addresses)
    names = {one.name for one in start.interfaces}
    goal = replace(
        goal, routes=tuple(one for one in goal.routes if names.issuperset(one.interfaces))
    )
    system = FakeSystem()
    system.go_to(start)

    def led() -> set[object]:
        return {one.destination for one in system.observe().routes if one.interfaces}

    wanted = led() & {one.destination for one in goal.routes if one.interfaces}
    for step in diff(goal, system.observe()):
        system.carry_out(step)
        assert wanted <= led()
