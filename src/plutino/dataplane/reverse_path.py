"""Reverse path filtering of underlay devices, which can drop what peers send (RFC 3704).

Where routes cover the peer, the way back to it is by mark, which the kernel does not know when ESP
comes in: a strict filter drops it (``Documentation/networking/ip-sysctl.rst``, ``rp_filter``).
"""

from pathlib import Path
from typing import Final

SETTINGS: Final = Path("/proc/sys/net/ipv4/conf")
"""Of the network namespace of whoever reads."""
_STRICT: Final = "1"


def has_strict_reverse_path(device: str, settings: Path = SETTINGS) -> bool:
    """Whether the higher of a device's and the general setting is strict, in this namespace."""
    values = []
    for name in ("all", device):
        try:
            values.append((settings / name / "rp_filter").read_text().strip())
        except OSError:
            continue
    return bool(values) and max(values) == _STRICT
