"""Routes into tunnels that cover more than what is behind the peer."""

import re

from plutino.lab.hosts import Host

ELSEWHERE = {4: "203.0.113.9", 6: "2001:db8:9::9"}
"""Behind Berlin, and in no route of Paris but the default."""


def route(host: Host, networks: str) -> None:
    """These are the routes of a host's one tunnel, as the file has them."""
    text = re.sub(r"^routes = .*$", f"routes = [{networks}]", host.file.read_text(), flags=re.M)
    host.file.write_text(text)
