"""What the daemon does with an engine that goes on running from before an upgrade."""

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.daemon import ike_sockets
from plutino.daemon.ike_sockets import IkeSockets
from plutino.dataplane.engine_messages import EngineIke
from plutino.dataplane.runtime import RuntimePaths
from plutino.ike.path import Datagram, SocketAddress
from plutino.ike.path import Path as IkePath
from plutino.ike_process.receiving import Source
from plutino.model.errors import KernelError


class EarlierEngine:
    """It knows no HEARIKE, as its answers to what it does not know show."""

    sent: Sequence[EngineIke] = ()

    def __init__(self, _path: Path) -> None:
        pass

    def hear_ike(self, _descriptor: int) -> None:
        raise KernelError("hand over the socket for IKE", errno.EINVAL)

    def send_ike(self, messages: Sequence[EngineIke]) -> None:
        EarlierEngine.sent = messages

    def close(self) -> None:
        pass


class Reader:
    """The IKE process's end."""

    def give_socket(self, source: Source, port: int, opened: socket.socket) -> None:
        pass


def test_an_engine_that_passes_no_ike_on_is_told_of_and_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ike_sockets, "EngineClient", EarlierEngine)
    sockets = IkeSockets(RuntimePaths(tmp_path, tmp_path), Reader())  # type: ignore[arg-type]
    ends = (SocketAddress(ip_address(f"192.0.2.{number}"), 4500) for number in (1, 2))
    sockets.send([(Datagram(IkePath(*ends), b"request"), 0)])
    assert [one.datagram for one in EarlierEngine.sent] == [b"request"]
    said = capsys.readouterr().err
    assert "no IKE is heard at port 4500" in said
    assert "plutino down" in said
    sockets.close()
