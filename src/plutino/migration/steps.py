"""The way from a VTI to its XFRM interface without a lost packet, as commands of iproute2. Pure.

While the VTI is up, the kernel gives it all ESP between its ends, that of the new SAs too: after
decryption the packet must fit an inbound policy with the VTI's key as mark (``vti_rcv_cb()``). Such
a policy fits SAs of any if_id, but it may ask for a reqid or an SPI; the new SAs have their own.
Beside it comes one that asks for neither, which an IKE daemon does not touch when it rekeys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from plutino.desired.routes import ROUTE_METRIC
from plutino.migration.vti import ImportedVti, is_connected, is_movable
from plutino.model.link import MAIN_TABLE, Route
from plutino.model.numbers import U32_MAX, Mark
from plutino.model.policy import Action, Direction, Mode, Policy, Selector, Template
from plutino.model.sa import SecurityAssociation

_WINNING_METRIC = 1


def prepare(vti: ImportedVti, *, is_strict: bool) -> Iterator[str]:
    """Before the XFRM interface comes: nothing may lead into it, and all that it brings is let in.

    ``is_strict`` tells that the VTI has rp_filter 1.
    """
    for policy in vti.live.policies:
        if _is_narrow(policy) and policy.priority:
            yield f"ip xfrm policy add {_name(_wider(policy, vti))}{_rest(_wider(policy, vti))}"
        elif _is_narrow(policy):
            yield f"ip xfrm policy update {_name(policy)}{_rest(policy)}"
    for route in _moving(vti):
        if route.metric >= ROUTE_METRIC and not is_connected(vti.live, route):
            yield f"{_ip(route)} route add {_route(route, _WINNING_METRIC)}"
            if route.metric == ROUTE_METRIC:
                yield f"{_ip(route)} route del {_route(route, route.metric)}"
    if is_strict:
        yield f"sysctl -w net.ipv4.conf.{vti.live.name.replace('.', '/')}.rp_filter=2"


def move(vti: ImportedVti) -> Iterator[str]:
    """What is sent takes the XFRM interface from now on."""
    for route in _moving(vti):
        metric = route.metric
        if metric >= ROUTE_METRIC and not is_connected(vti.live, route):
            yield f"{_ip(route)} route del {_route(route, _WINNING_METRIC)}"
            if metric == ROUTE_METRIC:
                continue
        yield f"{_ip(route)} route del {_route(route, metric)}"


def remove(vti: ImportedVti) -> Iterator[str]:
    """The VTI, its policies and its SAs."""
    yield f"ip link del {vti.live.name}"
    for policy in vti.live.policies:
        yield f"ip xfrm policy delete {_name(policy)}"
        if _is_narrow(policy) and policy.priority:
            yield f"ip xfrm policy delete {_name(_wider(policy, vti))}"
    for sa in vti.live.sas:
        yield f"ip xfrm state delete {_sa(sa)}"


def next_steps(
    vtis: Sequence[ImportedVti], file: str, *, strict: frozenset[str], handed_over: Sequence[str]
) -> str:
    """All steps, numbered; ``handed_over`` are key files for the peers."""
    preparing = [one for vti in vtis for one in prepare(vti, is_strict=vti.live.name in strict)]
    moving = [one for vti in vtis for one in move(vti)]
    removing = [one for vti in vtis for one in remove(vti)]
    names = " and ".join(vti.live.name for vti in vtis)
    runs_daemon = any(one.encapsulation == "udp" for vti in vtis for one in vti.tunnels)
    verb = "run" if runs_daemon else "apply"
    steps: list[tuple[str, list[str]]] = []
    if handed_over:
        words = "Hand over: bring the peer's keys to it by a safe way, and give them to its import:"
        steps.append((words, [f"plutino import vti --keys {one}" for one in handed_over]))
    if preparing:
        words = f"Prepare: {names} lets the new SAs' packets in, and keeps the traffic:"
        steps.append((words, preparing))
    steps += [
        (
            "Start; the traffic stays where it is:",
            [f"plutino plan {file}", f"plutino {verb} {file}"],
        ),
        ("Move, when BOTH ends have started; what this end sends changes its way:", moving),
        (
            f"Remove, when both ends have moved and nothing is sent by {names} any more:",
            removing,
        ),
    ]
    lines = []
    for number, (words, commands) in enumerate(steps, 1):
        lines += [f"{number}. {words}", *(f"     {one}" for one in commands)]
    lines.append(
        "   What an IKE daemon has made, remove there instead, and stop it from making it anew."
    )
    return "\n".join(lines) + "\n"


def _is_narrow(policy: Policy) -> bool:
    return policy.direction is Direction.IN and any(
        one.reqid or one.spi for one in policy.templates
    )


def _wider(policy: Policy, vti: ImportedVti) -> Policy:
    """One that is asked first, and that the kernel tells from the other by its mark."""
    key = vti.live.ends.input_key
    marks = [Mark(key & mask, mask) for mask in (U32_MAX, U32_MAX >> 1)]
    mark = next(one for one in marks if one != policy.mark)
    return replace(policy, mark=mark, priority=policy.priority - 1)


def _moving(vti: ImportedVti) -> list[Route]:
    """What leads into the VTI and has a counterpart of ours; the networks of addresses last."""
    networks = {network for tunnel in vti.tunnels for network in tunnel.routes}
    kept = {address.network for address in vti.addresses}
    routes = [
        one
        for one in vti.live.routes
        if is_movable(one)
        and one.destination in (kept if is_connected(vti.live, one) else networks)
    ]
    return sorted(routes, key=lambda one: is_connected(vti.live, one))


def _ip(route: Route) -> str:
    return "ip" if route.destination.version == 4 else "ip -6"


def _route(route: Route, metric: int) -> str:
    table = "" if route.table == MAIN_TABLE else f" table {route.table}"
    words = f" metric {metric}" if metric else ""
    return f"{route.destination} dev {route.interface}{table}{words}"


def _name(policy: Policy) -> str:
    direction = policy.direction.name.lower()
    return f"{_selector(policy.selector)} dir {direction}{_mark(policy.mark)}"


def _rest(policy: Policy) -> str:
    action = " action block" if policy.action is Action.BLOCK else ""
    priority = f" priority {policy.priority}" if policy.priority else ""
    return action + priority + "".join(map(_template, policy.templates))


def _template(template: Template) -> str:
    """Without reqid and SPI."""
    protocols = {50: "esp", 51: "ah", 108: "comp"}
    level = " level use" if template.optional else ""
    modes = {Mode.TUNNEL: "tunnel", Mode.TRANSPORT: "transport", Mode.BEET: "beet"}
    return (
        f" tmpl src {template.source} dst {template.destination} proto "
        f"{protocols.get(template.protocol, template.protocol)} mode {modes[template.mode]}{level}"
    )


def _selector(selector: Selector) -> str:
    words = f"src {selector.source} dst {selector.destination}"
    if selector.protocol:
        words += f" proto {selector.protocol}"
    if selector.source_port_mask:
        words += f" sport {selector.source_port}"
    if selector.destination_port_mask:
        words += f" dport {selector.destination_port}"
    return words


def _mark(mark: Mark | None) -> str:
    return "" if mark is None else f" mark {mark.value:#x} mask {mark.mask:#x}"


def _sa(sa: SecurityAssociation) -> str:
    ends = f"src {sa.source} dst {sa.destination}"
    return f"{ends} proto esp spi {int(sa.spi):#x}{_mark(sa.mark)}"
