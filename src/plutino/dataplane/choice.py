"""Which data plane serves an instance: the kernel, or the engine in user space.

The first pass of an instance chooses and writes it down; until `down` everything else reads it, so
that no pass ever moves a tunnel from one plane to the other under its packets.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, Self

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.engine_process import engine_running
from plutino.dataplane.kernel import KernelPlane
from plutino.dataplane.plane import ManagedPlane
from plutino.dataplane.probe.attempts import probe_kernel
from plutino.dataplane.probe.report import KernelReport, Lack
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.scratch import ScratchError
from plutino.dataplane.userspace import UserspacePlane
from plutino.model.errors import PlaneError
from plutino.model.feature import Demands, PlaneBinding
from plutino.model.link import link_alias
from plutino.netlink.route.links import KIND_XFRM, KINDS_VTI
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm.constants import Group

KERNEL: Final = KernelPlane.name
USERSPACE: Final = UserspacePlane.name
AUTO: Final = "auto"
SO_CONFIGURED: Final = "so configured"
_CHANGES: Final = Group.SA.bit | Group.POLICY.bit
_FOR_IKE: Final = Group.ACQUIRE.bit | Group.EXPIRE.bit | Group.MAPPING.bit


@dataclass(frozen=True, slots=True)
class PlaneChoice:
    """The plane, ``kernel`` or ``userspace``, and why in words."""

    plane: str
    why: str

    @classmethod
    def read(cls, runtime: RuntimePaths) -> Self | None:
        """What an earlier pass wrote down, or None."""
        try:
            found = json.loads(runtime.plane_choice.read_text())
            choice = cls(str(found["plane"]), str(found["why"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return choice if choice.plane in (KERNEL, USERSPACE) else None

    def write(self, runtime: RuntimePaths) -> None:
        """Write it down. Raises PlaneError if that fails."""
        try:
            runtime.plane_choice.write_text(json.dumps(asdict(self)))
        except OSError as error:
            why = f"{runtime.plane_choice} cannot be written: {error.strerror}"
            raise PlaneError(why) from error


def choose(configured: str, demands: Demands) -> PlaneChoice:
    """The choice for a new instance, after a look at what the kernel can do.

    Raises PlaneError if the kernel shall serve it, or must, and lacks what is asked for.
    """
    if (choice := _without_a_look(configured, demands)) is not None:
        return choice
    try:
        report = probe_kernel({one.feature for one in demands.requirements})
    except ScratchError as error:
        # What cannot be tried may work; if it does not, the kernel says so and all is undone.
        if configured == KERNEL or _bound_to(KERNEL, demands) is not None:
            why = f"{_why_kernel(configured, demands)}, and untried: {error}"
            return PlaneChoice(KERNEL, why)
        return PlaneChoice(USERSPACE, f"auto: the kernel cannot be tried: {error}")
    return choose_by(configured, demands, report)


def choose_by(configured: str, demands: Demands, report: KernelReport) -> PlaneChoice:
    """The choice on a kernel that can do that. Pure. Raises PlaneError as ``choose`` does."""
    if (choice := _without_a_look(configured, demands)) is not None:
        return choice
    lacks = tuple(report.lacks(demands.requirements))
    if configured == KERNEL or _bound_to(KERNEL, demands) is not None:
        if lacks:
            raise _kernel_refusal(configured, demands, lacks)
        return PlaneChoice(KERNEL, _why_kernel(configured, demands))
    if lacks:
        first = lacks[0]
        why = f"auto: {_asks(first)}: {first.finding.words}{_more(lacks)}"
        return PlaneChoice(USERSPACE, why)
    why = f"auto: Linux {report.release} can do all that is asked for"
    return PlaneChoice(KERNEL, why)


def _without_a_look(configured: str, demands: Demands) -> PlaneChoice | None:
    """The engine, where nothing that the kernel can do would make a difference."""
    if configured == USERSPACE:
        return PlaneChoice(USERSPACE, SO_CONFIGURED)
    binding = _bound_to(USERSPACE, demands)
    if configured == AUTO and binding is not None:
        return PlaneChoice(USERSPACE, f"auto: `{binding.key}` needs the engine: {binding.why}")
    return None


def _bound_to(plane: str, demands: Demands) -> PlaneBinding | None:
    return next((one for one in demands.bindings if one.plane == plane), None)


def _why_kernel(configured: str, demands: Demands) -> str:
    binding = _bound_to(KERNEL, demands)
    if configured == KERNEL or binding is None:
        return SO_CONFIGURED
    return f"auto: `{binding.key}` needs the kernel: {binding.why}"


def _kernel_refusal(configured: str, demands: Demands, lacks: tuple[Lack, ...]) -> PlaneError:
    binding = _bound_to(KERNEL, demands)
    asked = 'data-plane = "kernel"'
    if configured != KERNEL and binding is not None:
        asked = f"`{binding.key}`"
    first = lacks[0]
    key = f" (`{first.requirement.key}`)" if first.requirement.key else ""
    why = f"{asked} cannot be: {_asks(first)}{key}: {first.finding.words}{_more(lacks)}"
    engine = "" if binding else ', or let `data-plane = "auto"` take the engine'
    cure = f"that takes {first.finding.cure}" if first.finding.cure else "change that key"
    return PlaneError(why, hint=f"{cure}{engine}; `plutino doctor FILE` shows all")


def _asks(lack: Lack) -> str:
    requirement = lack.requirement
    return f"{requirement.user} needs {requirement.feature.value}, which this kernel lacks"


def _more(lacks: tuple[Lack, ...]) -> str:
    others = {one.finding.feature for one in lacks} - {lacks[0].finding.feature}
    return f", and {len(others)} more" if others else ""


def current_choice(
    instance: str, runtime: RuntimePaths, routes: RouteClients
) -> PlaneChoice | None:
    """The plane that serves an instance now, by what was written down or by what is there."""
    noted = PlaneChoice.read(runtime)
    if noted is not None:
        return noted
    if engine_running(runtime):
        return PlaneChoice(USERSPACE, "its engine runs")
    alias = link_alias(instance)
    if any(
        one.alias == alias and one.kind in (KIND_XFRM, *KINDS_VTI) for one in routes.list_links()
    ):
        return PlaneChoice(KERNEL, "its interfaces are the kernel's")
    return None


def settle_choice(
    configured: str,
    instance: str,
    runtime: RuntimePaths,
    routes: RouteClients,
    demands: Demands,
) -> PlaneChoice:
    """The plane for a pass: the one that serves already, or a new choice.

    Raises PlaneError if the configuration wants another than the one that serves, or the kernel
    and it lacks something.
    """
    current = current_choice(instance, runtime, routes)
    if current is None:
        return choose(configured, demands)
    if configured not in (AUTO, current.plane):
        raise PlaneError(
            f"data-plane is \"{configured}\", but instance '{instance}' runs on the "
            f"{current.plane} plane ({current.why})",
            hint="`plutino down`, then start it again",
        )
    return current


def open_plane(
    choice: PlaneChoice,
    instance: str,
    runtime: RuntimePaths,
    *,
    routes: RouteClients,
    start: bool,
    reqids: Iterable[int] = (),
) -> ManagedPlane | None:
    """Reach the plane; None for an engine that does not run and shall not be started.

    ``reqids`` are for the kernel (``KernelPlane.connect``). Raises PlaneError.
    """
    if choice.plane == KERNEL:
        return KernelPlane.connect(instance, runtime, routes=routes, reqids=reqids)
    try:
        return UserspacePlane.connect(instance, runtime, routes=routes, start=start)
    except PlaneError:
        if start:
            raise
        return None


def open_events(
    choice: PlaneChoice, runtime: RuntimePaths, *, for_ike: bool = False
) -> NetlinkSocket:
    """A socket that tells of changes of SAs and policies by others. Raises PlaneError.

    For IKE it also tells of acquires, of SAs near their end, and of peers whose NAT gave them
    another port.
    """
    groups = _CHANGES | _FOR_IKE if for_ike else _CHANGES
    if choice.plane == KERNEL:
        return NetlinkSocket.kernel(NETLINK_XFRM, groups=groups)
    client = EngineClient(runtime.engine_socket)
    client.join(groups)
    return client.socket
