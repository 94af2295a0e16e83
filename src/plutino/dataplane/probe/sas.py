"""Attempts with SAs: modes, algorithms, numbers, marks, encapsulation."""

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from plutino.dataplane.probe.bench import FULL_MARK, INNER, MASKED_MARK, WINDOW, Bench, refused
from plutino.dataplane.underlay import SocketKind, open_encapsulation
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES
from plutino.model.errors import BatchRefusedError, KernelError
from plutino.model.feature import ALGORITHMS, Feature
from plutino.model.numbers import Mark
from plutino.model.policy import Mode, Selector
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation, UdpEncapsulation
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_EXCL
from plutino.netlink.xfrm.constants import MessageType, OffloadFlag, Xfrma
from plutino.netlink.xfrm.convert import sa_id_message, sa_message
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import UserOffload

_FIRST_SUITES: Final = (DEFAULT_ALGORITHM, "aes128-sha256", "null-sha256")
"""A kernel that has none of them has no ESP to speak of."""
_LARGEST_WINDOW: Final = 4096
_MODE_IPTFS: Final = 5
_LOOPBACK: Final = 1
"""Index of ``lo``, which takes over nothing."""


def _try_esp(bench: Bench, mode: Mode, version: int) -> None:
    selector = INNER if mode is Mode.BEET else None
    back = None if selector is None else Selector(selector.destination, selector.source)
    refusals: list[KernelError] = []
    for suite in (bench.suite, *(ESP_SUITES[name] for name in _FIRST_SUITES)):
        changes: dict[str, Any] = {"suite": suite, "mode": mode}
        try:
            bench.add(
                bench.sa(version, SaDirection.OUT, selector=selector, **changes),
                bench.sa(version, SaDirection.IN, selector=back, **changes),
            )
        except KernelError as error:
            refusals.append(error)
        else:
            bench.suite = suite
            return
    without_esp = (one for one in refusals if one.errno == errno.EPROTONOSUPPORT)
    raise next(without_esp, refusals[0])


def _try_esn(bench: Bench) -> None:
    # The mark, which ours have too, tells outbound SAs where the kernel knows no direction.
    mark: Mark | None = FULL_MARK
    try:
        bench.add(bench.sa(4, SaDirection.OUT, output_mark=mark))
    except KernelError:
        mark = None
    outbound = bench.sa(4, SaDirection.OUT, esn=True, output_mark=mark)
    inbound = bench.sa(4, SaDirection.IN, esn=True)
    bench.add(*(inbound,) if mark is None else (outbound, inbound))


def _try_algorithm(bench: Bench, feature: Feature) -> None:
    """All suites are tried at once, with ESN if there is any; each line looks for its own."""
    if bench.refused_suites is None:
        bench.refused_suites = _refused_suites(bench)
    suites = [
        (name, part)
        for name, suite in ESP_SUITES.items()
        for part in (suite.encryption, suite.integrity)
        if part is not None and part.kernel_name == feature.value
    ]
    taken = {part for name, part in suites if name not in bench.refused_suites}
    lacking = [(name, part) for name, part in suites if part not in taken]
    if lacking:
        name, part = lacking[0]
        error = bench.refused_suites[name]
        words = error.extack if not taken else f"not {part.name}: {error}"
        raise KernelError(error.step, error.errno, words)


def _refused_suites(bench: Bench) -> dict[str, KernelError]:
    names = {one.value for one in bench.wanted}
    suites = {
        name: suite
        for name, suite in ESP_SUITES.items()
        if suite.encryption.kernel_name in names
        and (suite.integrity is None or suite.integrity.kernel_name in names)
    }
    esn = Feature.ESN in bench.found
    sas = [bench.sa(4, SaDirection.IN, suite=suite, esn=esn) for suite in suites.values()]
    try:
        bench.plane.add_sas(sas)
    except BatchRefusedError as error:
        places = list(suites)
        return {places[place]: why for place, why in error.refused.items()}
    return {}


def _try_udp(bench: Bench, version: int, kind: SocketKind) -> None:
    udp = UdpEncapsulation()
    bench.add(
        bench.sa(version, SaDirection.OUT, encapsulation=udp),
        bench.sa(version, SaDirection.IN, encapsulation=udp),
    )
    open_encapsulation(kind).close()


def _try_direction(bench: Bench) -> None:
    """Kernels before 6.10 take the attribute without a word and forget it."""
    step = "read the SA back"
    sa = bench.sa(4, SaDirection.OUT)
    bench.plane.add_sas([sa])
    request = sa_id_message(sa, MessageType.GETSA)
    replies = bench.xfrm.request(step, request.kind, request.encode())
    directions = [XfrmMessage.parse(message).find(Xfrma.SA_DIR, int) for message in replies]
    if directions != [SaDirection.OUT]:
        raise refused(step, "the kernel forgets it")


def _try_iptfs(bench: Bench) -> None:
    message = sa_message(bench.sa(4, SaDirection.OUT))
    fixed: Any = message.fixed
    request = replace(message, fixed=replace(fixed, mode=_MODE_IPTFS))
    bench.xfrm.request("add an SA of IP-TFS", request.kind, request.encode(), flags=NLM_F_CREATE)


def _try_crypto_offload(bench: Bench) -> None:
    """Every kernel that knows offload refuses it with TFC padding, whatever the device.

    Others ignore the attribute. Which devices take SAs over shows when one is asked.
    """
    refusal = _refusal_of_offload(bench, OffloadFlag(0), [(Xfrma.TFCPAD, 64)])
    # Without an extended ACK it is an older kernel's refusal of the same.
    if refusal.errno != errno.EINVAL or "TFC" not in (refusal.extack or "TFC"):
        raise refusal
    bench.offload_tells_why = refusal.extack is not None


def _try_packet_offload(bench: Bench) -> None:
    """``lo`` takes nothing over; kernels before 6.2 do not even know the flag."""
    refusal = _refusal_of_offload(bench, OffloadFlag.PACKET, [])
    is_unknown = not bench.offload_tells_why or "flags" in (refusal.extack or "")
    if refusal.errno != errno.EINVAL or is_unknown:
        raise refusal


def _refusal_of_offload(
    bench: Bench, flags: OffloadFlag, more: list[tuple[int, Any]]
) -> KernelError:
    step = "offload an SA"
    message = sa_message(bench.sa(4, SaDirection.OUT))
    attributes = [(one.type, one.value) for one in message.attributes]
    attributes += [*more, (Xfrma.OFFLOAD_DEV, UserOffload(_LOOPBACK, flags))]
    request = XfrmMessage.build(message.kind, message.fixed, attributes)
    created = NLM_F_CREATE | NLM_F_EXCL
    try:
        bench.xfrm.request(step, request.kind, request.encode(), flags=created)
    except KernelError as error:
        return error
    raise refused(step, "the kernel takes no notice of it")


def _simple(version: int, direction: SaDirection, **changes: Any) -> Callable[[Bench], None]:
    """An SA with these values, which must read back with them."""

    def attempt(bench: Bench) -> None:
        sa: SecurityAssociation = bench.sa(version, direction, **changes)
        bench.add(sa)

    return attempt


def _algorithm(feature: Feature) -> Callable[[Bench], None]:
    return lambda bench: _try_algorithm(bench, feature)


_OUT: Final = SaDirection.OUT
_IN: Final = SaDirection.IN
SA_ATTEMPTS: Final[Mapping[Feature, Callable[[Bench], None]]] = MappingProxyType(
    {
        Feature.ESP_TUNNEL_V4: lambda bench: _try_esp(bench, Mode.TUNNEL, 4),
        Feature.ESP_TUNNEL_V6: lambda bench: _try_esp(bench, Mode.TUNNEL, 6),
        Feature.ESP_TRANSPORT_V4: lambda bench: _try_esp(bench, Mode.TRANSPORT, 4),
        Feature.ESP_TRANSPORT_V6: lambda bench: _try_esp(bench, Mode.TRANSPORT, 6),
        Feature.ESP_BEET_V4: lambda bench: _try_esp(bench, Mode.BEET, 4),
        Feature.ESP_BEET_V6: lambda bench: _try_esp(bench, Mode.BEET, 6),
        Feature.IPTFS: _try_iptfs,
        Feature.UDP_V4: lambda bench: _try_udp(bench, 4, SocketKind.UDP_V4),
        Feature.UDP_V6: lambda bench: _try_udp(bench, 6, SocketKind.UDP_V6),
        Feature.NAT_KEEPALIVE: _simple(4, _OUT, encapsulation=UdpEncapsulation(), nat_keepalive=20),
        Feature.ESN: _try_esn,
        Feature.REPLAY_WINDOW: _simple(4, _IN, replay=ReplayState(window=_LARGEST_WINDOW)),
        Feature.SA_DIRECTION: _try_direction,
        Feature.SA_CPU: _simple(4, _OUT, cpu=0),
        Feature.MARK: _simple(4, _IN, mark=MASKED_MARK),
        Feature.OUTPUT_MARK: _simple(4, _OUT, output_mark=FULL_MARK),
        Feature.OUTPUT_MARK_MASK: _simple(4, _OUT, output_mark=MASKED_MARK),
        Feature.INPUT_MARK: _simple(
            4, _IN, output_mark=MASKED_MARK, replay=ReplayState(window=WINDOW)
        ),
        Feature.CRYPTO_OFFLOAD: _try_crypto_offload,
        Feature.PACKET_OFFLOAD: _try_packet_offload,
        **{feature: _algorithm(feature) for feature in ALGORITHMS},
    }
)
