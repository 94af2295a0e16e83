"""What to do where the kernel refuses a link or an SA."""

import errno

from plutino.model.errors import KernelError
from plutino.model.interface import Interface
from plutino.model.sa import SecurityAssociation


def with_hint(error: KernelError, hint: str | None) -> KernelError:
    """The error with words for the operator."""
    return KernelError(error.step, error.errno, error.extack, hint)


def link_hint(interface: Interface, error: KernelError) -> str | None:
    """For a link that could not be made or changed; None where there is nothing to say."""
    if error.errno == errno.EEXIST and interface.vti is not None:
        return (
            "another VTI has the same ends, whatever its keys (see `ip -d link show type vti` and "
            "`type vti6`): remove it, or use an XFRM interface (`plutino import vti`)"
        )
    if error.errno == errno.EEXIST:
        return (
            f"another XFRM interface has if_id {int(interface.if_id)} (see `ip -d link show type "
            "xfrm`): remove it, or give the tunnel an `if-id` of its own"
        )
    if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
        kind = "XFRM interfaces" if interface.vti is None else "VTIs"
        return f"this kernel has no {kind}; `plutino doctor` tells what it has"
    return None


def sa_hint(sa: SecurityAssociation, error: KernelError) -> str | None:
    """For an SA that could not be added; None where there is nothing to say."""
    if error.errno in (errno.EPROTONOSUPPORT, errno.ENOENT, errno.ENOSYS):
        return "this kernel cannot do that; `plutino doctor` tells what it can"
    if error.errno == errno.EEXIST:
        return "an SA of others has that address and SPI: see `ip xfrm state`"
    if error.errno == errno.EINVAL and sa.offload is not None:
        return "the device takes no such SA over: remove `offload`, or choose another mode of it"
    return None
