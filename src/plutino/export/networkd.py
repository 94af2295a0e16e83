"""systemd-networkd's configuration. Pure.

plutino makes its interfaces, their addresses and routes; networkd, which by default takes over what
matches any of its files, has to leave them alone.
"""

from plutino.config.gateway import Gateway
from plutino.export.neighbours import routed_interfaces


def networkd_text(gateway: Gateway) -> str:
    """One ``.network`` file for all interfaces of the gateway."""
    names = " ".join(routed_interfaces(gateway))
    return f"""\
# Written by `plutino export networkd`: /etc/systemd/network/05-plutino.network
# plutino makes these interfaces, their addresses and routes; networkd leaves them alone.
[Match]
Name={names}

[Link]
Unmanaged=yes
"""
