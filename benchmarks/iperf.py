"""One TCP stream by iperf3 between two hosts of the lab."""

import json
import subprocess
import time
from ipaddress import ip_address
from typing import Any

from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from plutino.model.errors import PlaneError

_PORT = "5201"


def measure(client: Host, server: Host, address: str, seconds: int) -> float:
    """Gbit/s that arrive at ``address`` of the server within so many seconds.

    Raises PlaneError if the address does not answer or iperf3 fails.
    """
    if ping(client.namespace, ip_address(address))[0] == 0:
        raise PlaneError(f"{address} does not answer")
    with server.namespace.entered():
        listener = subprocess.Popen(
            ["iperf3", "--server", "--one-off", "--port", _PORT],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        result = _run_client(client, address, seconds)
    finally:
        listener.terminate()
        listener.wait()
    return float(result["end"]["sum_received"]["bits_per_second"]) / 1e9


def _run_client(client: Host, address: str, seconds: int) -> Any:
    command = ["iperf3", "--client", address, "--time", str(seconds), "--json", "--port", _PORT]
    for _ in range(50):  # until the server listens
        with client.namespace.entered():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        result = json.loads(done.stdout or "{}")
        if "sum_received" in result.get("end", {}):
            return result
        time.sleep(0.05)
    raise PlaneError(f"iperf3 failed: {result.get('error', done.stderr.strip())}")
