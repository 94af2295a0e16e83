"""Tells systemd how the daemon is (sd_notify(3)), where one listens."""

import os
import socket


def notify(*lines: str) -> None:
    """Send assignments such as ``READY=1``; nothing happens without ``NOTIFY_SOCKET``."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall("\n".join(lines).encode())
    except OSError:
        return  # the service manager's problem, not the tunnels'


def watchdog_interval() -> float | None:
    """Seconds between signs of life that systemd asks for, halved; None if it asks for none."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdigit() else None
