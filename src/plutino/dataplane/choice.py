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
from plutino.dataplane.probe import KernelReport, probe_kernel
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.scratch import ScratchError
from plutino.dataplane.underlay import EncapsulationSockets
from plutino.dataplane.userspace import UserspacePlane
from plutino.model.errors import PlaneError
from plutino.model.link import link_alias
from plutino.netlink.route.links import KIND_XFRM, KINDS_VTI
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm.constants import Group

KERNEL: Final = KernelPlane.name
USERSPACE: Final = UserspacePlane.name
AUTO: Final = "auto"
_CHANGES: Final = Group.SA.bit | Group.POLICY.bit


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


def choose(configured: str) -> PlaneChoice:
    """The choice for a new instance; ``auto`` tries what the kernel can do."""
    if configured != AUTO:
        return PlaneChoice(configured, "so configured")
    try:
        return choose_by(probe_kernel())
    except ScratchError as error:
        return PlaneChoice(USERSPACE, f"auto: the kernel cannot be tried: {error}")


def choose_by(report: KernelReport) -> PlaneChoice:
    """What ``auto`` means on a kernel that can do that. Pure."""
    if not report.missing:
        return PlaneChoice(KERNEL, f"auto: Linux {report.release} can do all that is needed")
    first = report.missing[0]
    words = f"auto: the kernel lacks {first.feature.value}: {first.words}"
    more = len(report.missing) - 1
    return PlaneChoice(USERSPACE, f"{words}, and {more} more" if more else words)


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
    configured: str, instance: str, runtime: RuntimePaths, routes: RouteClients
) -> PlaneChoice:
    """The plane for a pass: the one that serves already, or a new choice.

    Raises PlaneError if the configuration wants another than the one that serves.
    """
    current = current_choice(instance, runtime, routes)
    if current is None:
        return choose(configured)
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
    sockets: EncapsulationSockets | None = None,
) -> ManagedPlane | None:
    """Reach the plane; None for an engine that does not run and shall not be started.

    ``reqids`` and ``sockets`` are for the kernel (``KernelPlane.connect``). Raises PlaneError.
    """
    if choice.plane == KERNEL:
        return KernelPlane.connect(instance, runtime, routes=routes, reqids=reqids, sockets=sockets)
    if not start and not engine_running(runtime):
        return None
    return UserspacePlane.connect(instance, runtime, routes=routes, start=start)


def open_events(choice: PlaneChoice, runtime: RuntimePaths) -> NetlinkSocket:
    """A socket that tells of changes of SAs and policies by others. Raises PlaneError."""
    if choice.plane == KERNEL:
        return NetlinkSocket.kernel(NETLINK_XFRM, groups=_CHANGES)
    client = EngineClient(runtime.engine_socket)
    client.join(_CHANGES)
    return client.socket
