"""`ip` of iproute2, as an administrator runs it beside plutino."""

import json
import re
import shlex
import subprocess

from plutino.lab.hosts import Host


def ip_here(command: str) -> str:
    """Run it in the current network namespace; what it prints."""
    done = subprocess.run(
        ["ip", *shlex.split(command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"ip {command}: {done.stderr}"
    return done.stdout


def ip(host: Host, command: str) -> str:
    """Run it at a host; what it prints."""
    with host.namespace.entered():
        return ip_here(command)


def ip_line(host: Host, command: str) -> str:
    """Run it at a host; what it prints, on one line."""
    return re.sub(r"\s+", " ", ip(host, command))


def everything(host: Host) -> tuple[str, ...]:
    """Links, addresses and routes, without what runs by itself."""
    names = sorted(link["ifname"] for link in json.loads(ip(host, "-j link")))
    addresses = [
        (link["ifname"], one["local"], one["prefixlen"])
        for link in json.loads(ip(host, "-j address"))
        for one in link["addr_info"]
    ]
    routes = [ip(host, f"-{version} route show table main") for version in (4, 6)]
    return (*names, *map(str, sorted(addresses)), *routes)
