"""The same start of many IKE SAs between two charons, for `gateways` to compare with."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.usage import Usage, usage_of
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.peers.packages import STRONGSWAN, find_peer
from plutino.lab.peers.strongswan import StrongSwan
from plutino.model.errors import PlaneError

_WEST: Final = "192.0.2.1"
_EAST: Final = "192.0.2.2"
_PATIENCE: Final = 300.0
_OPTIONS: Final = """
  dos_protection = no
  filelog { all {
    default = -1
    ike = -1
  } }
"""


@dataclass(frozen=True, slots=True)
class CharonFigures:
    """IKE SAs per second; seconds of CPU and octets for each, of who begins and who answers."""

    rate: float
    seconds: tuple[float, float]
    octets: tuple[float, float]


def measure_charons(
    namespaces: tuple[NetworkNamespace, NetworkNamespace], count: int, key: str
) -> CharonFigures | None:
    """Each on a core of its own where there are two. None without strongSwan."""
    root = find_peer(STRONGSWAN)
    if root is None:
        return None
    with _charons(namespaces, root, count, key) as pair:
        west, east = pair
        _load(west, count, key, start=False)  # what loading costs is not what they are asked for
        loading = _spent(west)
        _load(west, count, key, start=False)
        before = _spent(west), _spent(east)
        loading = Usage(before[0].seconds - loading.seconds, 0)
        began = time.monotonic()
        _load(west, count, key, start=True)
        deadline = began + _PATIENCE
        while any(f"IKE_SAs: {count} total, 0 half-open" not in _stats(one) for one in pair):
            if time.monotonic() > deadline:
                raise PlaneError(f"charon has not all IKE SAs: {_stats(east)}")
            time.sleep(0.05)
        took = time.monotonic() - began
        after = _spent(west), _spent(east)
    seconds = [(late.seconds - early.seconds) / count for early, late in zip(before, after)]  # noqa: B905
    octets = [(late.octets - early.octets) / count for early, late in zip(before, after)]  # noqa: B905
    return CharonFigures(
        count / took, (seconds[0] - loading.seconds / count, seconds[1]), (octets[0], octets[1])
    )


@contextmanager
def _charons(
    namespaces: Sequence[NetworkNamespace], root: Path, count: int, key: str
) -> Iterator[tuple[StrongSwan, StrongSwan]]:
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        pair = []
        try:
            for place, text in enumerate(
                (
                    _secrets(key),
                    answering(_EAST, "east.example", key, "172.20.0.0/14", "172.16.0.0/14"),
                )
            ):
                home = Path(folder) / str(place)
                home.mkdir()
                one = StrongSwan(namespaces[place], home, root, text, False, _OPTIONS)
                pair.append(one)
                one.start()
                assert one.process is not None
                words = ["taskset", "--all-tasks", "--cpu-list", "--pid"]
                words += [str(cores[place % len(cores)]), str(one.process.pid)]
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            west, east = pair
            yield west, east
        finally:
            for one in pair:
                one.close()


def _load(west: StrongSwan, count: int, key: str, *, start: bool) -> None:
    file = west.folder / "swanctl.conf"
    action = "start" if start else "none"
    several = "\n".join(_west(number, action) for number in range(count))
    file.write_text(f"connections {{\n{several}\n}}\n{_secrets(key)}")
    west.swanctl("--load-all", "--file", str(file))


def _west(number: int, action: str) -> str:
    return f"""w{number} {{
  version = 2
  unique = never
  local_addrs = {_WEST}
  remote_addrs = {_EAST}
  proposals = aes128gcm16-prfsha256-x25519
  local {{
    auth = psk
    id = w{number}.example
  }}
  remote {{
    auth = psk
    id = east.example
  }}
  children {{ net {{
    local_ts = 172.16.{number >> 8}.{number & 255}/32
    remote_ts = 172.20.{number >> 8}.{number & 255}/32
    esp_proposals = aes128gcm16-noesn
    start_action = {action}
  }} }}
}}"""


def answering(local: str, identity: str, key: str, here: str, there: str) -> str:
    """swanctl.conf of one that lets everybody in, from networks ``there`` to networks ``here``."""
    return f"""connections {{ all {{
  version = 2
  unique = never
  local_addrs = {local}
  remote_addrs = %any
  proposals = aes128gcm16-prfsha256-x25519
  local {{
    auth = psk
    id = {identity}
  }}
  remote {{
    auth = psk
    id = %any
  }}
  children {{ net {{
    local_ts = {here}
    remote_ts = {there}
    esp_proposals = aes128gcm16-noesn
  }} }}
}} }}
{_secrets(key)}"""


def _secrets(key: str) -> str:
    return f'secrets {{ ike-all {{ secret = "{key}" }} }}\n'


def _stats(one: StrongSwan) -> str:
    return one.swanctl("--stats")


def _spent(one: StrongSwan) -> Usage:
    assert one.process is not None
    return usage_of(one.process.pid)
