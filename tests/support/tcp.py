"""TCP connections between hosts of a lab, to ports that a test chooses."""

import socket

from plutino.lab.demo import INNER
from plutino.lab.hosts import Host


def connects(source: Host, target: Host, port: int, place: int = 0) -> bool:
    """Whether a TCP connection comes about, and carries more than one packet does."""
    address = INNER[target.name][place]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with target.namespace.entered():
        listener = socket.create_server((address, port), family=family)
    with source.namespace.entered():
        client = socket.socket(family, socket.SOCK_STREAM)
    with listener, client:
        for one in (listener, client):
            one.settimeout(1)
        try:
            client.connect((address, port))
            server, _ = listener.accept()
        except OSError:
            return False
        with server:
            server.settimeout(5)
            client.sendall(bytes(20000))
            client.shutdown(socket.SHUT_WR)
            return len(b"".join(iter(lambda: server.recv(65536), b""))) == 20000
