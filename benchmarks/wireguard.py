"""A tunnel by Debian's wireguard-go, the peer to compare with."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plutino.lab.hosts import Host
from plutino.model.errors import PlaneError

_PORT = "51820"
_START_TIMEOUT = 100


def _wg(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["wg", *arguments], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@contextmanager
def wireguard(
    folder: Path, ends: tuple[tuple[Host, str, str], tuple[Host, str, str]]
) -> Iterator[None]:
    """A tunnel between two hosts, each given with its outer and its inner address (/24)."""
    secrets = [_wg("genkey") for _ in ends]
    names = [f"wg-{host.name}" for host, _, _ in ends]
    processes = []
    try:
        for name, (host, _, _) in zip(names, ends, strict=True):
            with host.namespace.entered():
                processes.append(
                    subprocess.Popen(
                        ["wireguard-go", "--foreground", name], stderr=subprocess.DEVNULL
                    )
                )
        for number, (host, _, inner) in enumerate(ends):
            _, outer, _ = ends[1 - number]
            key = folder / f"{host.name}.wg"
            key.touch(mode=0o600)
            key.write_text(secrets[number])
            peer = _wg("pubkey", text=secrets[1 - number])
            with host.namespace.entered():
                _await(names[number])
                _wg(
                    *("set", names[number], "private-key", str(key), "listen-port", _PORT),
                    *("peer", peer, "endpoint", f"{outer}:{_PORT}", "allowed-ips", "0.0.0.0/0"),
                )
                for command in (
                    ["ip", "address", "add", f"{inner}/24", "dev", names[number]],
                    ["ip", "link", "set", names[number], "mtu", "1420", "up"],
                ):
                    subprocess.run(command, check=True)
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _await(name: str) -> None:
    for _ in range(_START_TIMEOUT):
        done = subprocess.run(["wg", "show", name], capture_output=True, check=False)
        if done.returncode == 0:
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise PlaneError("wireguard-go does not come up")
