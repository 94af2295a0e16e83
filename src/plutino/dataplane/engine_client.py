"""Requests to the engine that the kernel's XFRM has no message for."""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from plutino.dataplane.engine_messages import (
    EngineDevice,
    EngineDrop,
    EngineIke,
    EngineInfo,
    EngineLosses,
    EngineMessage,
    IpNetwork,
    NewDevice,
    encode_device,
    encode_groups,
    encode_ike,
    encode_kind,
    encode_map,
    encode_name,
    parse_device,
    parse_drop,
    parse_info,
    parse_losses,
    parse_map,
    parse_socket,
    parse_stat,
)
from plutino.model.errors import KernelError, PlaneError, WireError
from plutino.model.numbers import IfId
from plutino.netlink.socket import BATCH, NetlinkSocket
from plutino.netlink.wire import NLM_F_DUMP

_Value = TypeVar("_Value")

MOST_DESCRIPTORS = 16
"""That one datagram may bring (docs/engine-protocol.md)."""


class EngineClient:
    """One connection to the engine.

    Every method raises KernelError with the engine's words on refusal, PlaneError if it does not
    answer.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.socket = NetlinkSocket.engine(path)
        """The same connection for XFRM messages."""

    def close(self) -> None:
        """Close the connection; the engine goes on."""
        self.socket.close()

    def open_events(self, groups: int) -> NetlinkSocket:
        """Another connection, which hears these multicast groups."""
        other = EngineClient(self._path)
        other.join(groups)
        return other.socket

    def info(self) -> EngineInfo:
        """Who answers."""
        (info,) = self._ask("ask the engine who it is", EngineMessage.GETINFO, b"", parse_info)
        return info

    def list_devices(self) -> tuple[EngineDevice, ...]:
        """The devices that it was given."""
        step = "list the engine's devices"
        return self._ask(step, EngineMessage.GETDEV, b"", parse_device, NLM_F_DUMP)

    def find_device(self, name: str) -> EngineDevice | None:
        """The device of that name, or None."""
        step = f"look for the engine's device {name}"
        try:
            (found,) = self._ask(step, EngineMessage.GETDEV, encode_name(name), parse_device)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        return found

    def new_device(
        self,
        name: str,
        if_id: IfId | None,
        ifindex: int,
        mtu: int,
        descriptors: Sequence[int] = (),
    ) -> None:
        """Give it a TUN device by its descriptors, or another if_id or MTU (bytes) for one.

        Without if_id it is the external device, whose packets get theirs by ``new_map``.
        """
        self.new_devices([NewDevice(name, if_id, ifindex, mtu, descriptors)])

    def new_devices(self, devices: Iterable[NewDevice]) -> None:
        """Many at once. Raises BatchRefusedError; batches after a refusal are not sent."""
        for batch in _batches(devices):
            self._serve(batch)

    def _serve(self, devices: Sequence[NewDevice]) -> None:
        kind = int(EngineMessage.NEWDEV)
        self.socket.request_many(
            [
                (
                    kind,
                    encode_device(one.name, one.if_id, one.ifindex, one.mtu, len(one.descriptors)),
                    0,
                )
                for one in devices
            ],
            lambda place: f"serve {devices[place].name}",
            descriptors=[number for one in devices for number in one.descriptors],
        )

    def delete_devices(self, names: Sequence[str]) -> None:
        """Take devices away; ENODEV for each it has not. Raises BatchRefusedError."""
        kind = int(EngineMessage.DELDEV)
        self.socket.request_many(
            [(kind, encode_name(one), 0) for one in names],
            lambda place: f"let go of {names[place]}",
        )

    def new_map(self, prefix: IpNetwork, if_id: IfId) -> None:
        """Packets to that prefix out of the external device have that if_id; EEXIST if they do."""
        step = f"map {prefix} to if_id {if_id}"
        self.socket.request(step, EngineMessage.NEWMAP, encode_map(prefix, if_id))

    def delete_map(self, prefix: IpNetwork) -> None:
        """Take an entry away; ESRCH if there is none."""
        self.socket.request(f"unmap {prefix}", EngineMessage.DELMAP, encode_map(prefix))

    def list_maps(self) -> Mapping[IpNetwork, IfId]:
        """The external device's table."""
        step = "list the external device's table"
        return dict(self._ask(step, EngineMessage.GETMAP, b"", parse_map, NLM_F_DUMP))

    def new_socket(self, kind: int, descriptor: int) -> None:
        """Give it a socket to send and receive by."""
        step = "hand over the underlay socket"
        payload = encode_kind(kind)
        self.socket.request(step, EngineMessage.NEWSOCK, payload, descriptors=[descriptor])

    def list_sockets(self) -> Mapping[int, int]:
        """Errors of each socket, by kind."""
        step = "list the engine's sockets"
        return dict(self._ask(step, EngineMessage.GETSOCK, b"", parse_socket, NLM_F_DUMP))

    def stat(self) -> Mapping[str, int]:
        """Drops by the names of ``/proc/net/xfrm_stat``."""
        (stat,) = self._ask("read the drop counters", EngineMessage.GETSTAT, b"", parse_stat)
        return stat

    def losses(self) -> EngineLosses:
        """What it had to tell and nobody got."""
        step = "read what the engine could not tell"
        (losses,) = self._ask(step, EngineMessage.GETSTAT, b"", parse_losses)
        return losses

    def drops(self) -> tuple[EngineDrop, ...]:
        """The last drops, the oldest first; in a flood not all of them."""
        step = "list the last drops"
        return self._ask(step, EngineMessage.GETDROP, b"", parse_drop, NLM_F_DUMP)

    def join(self, groups: int) -> None:
        """Be told of changes: bit n-1 for group n (``XFRMNLGRP_*``)."""
        self.socket.request("join groups", EngineMessage.JOIN, encode_groups(groups))

    def send_ike(self, messages: Sequence[EngineIke]) -> None:
        """Send IKE messages from its port 4500.

        Raises BatchRefusedError for those that the network refuses.
        """
        self.socket.request_many(
            [(int(EngineMessage.IKE), encode_ike(one), 0) for one in messages],
            lambda _place: "send IKE",
        )

    def hear_ike(self, descriptor: int) -> None:
        """Have IKE that comes to its port 4500 written to a socket (docs/engine-protocol.md)."""
        step = "hand over the socket for IKE"
        self.socket.request(step, EngineMessage.HEARIKE, b"", descriptors=[descriptor])

    def shutdown(self) -> None:
        """End the engine."""
        self.socket.request("end the engine", EngineMessage.SHUTDOWN, b"")

    def _ask(
        self,
        step: str,
        kind: EngineMessage,
        payload: bytes,
        parse: Callable[[bytes], _Value],
        flags: int = 0,
    ) -> tuple[_Value, ...]:
        replies = self.socket.request(step, kind, payload, flags=flags)
        try:
            return tuple(parse(message.payload) for message in replies)
        except WireError as error:
            raise PlaneError(f"{step}: the answer cannot be read: {error}") from error


def _batches(devices: Iterable[NewDevice]) -> Iterator[Sequence[NewDevice]]:
    """Runs of devices whose descriptors fit one datagram."""
    batch: list[NewDevice] = []
    count = 0
    for device in devices:
        count += len(device.descriptors)
        if batch and (count > MOST_DESCRIPTORS or len(batch) == BATCH):
            yield batch
            batch, count = [], len(device.descriptors)
        batch.append(device)
    if batch:
        yield batch
