"""XFRM requests over any netlink socket: the kernel's, or the engine's that speaks the same."""

import errno
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from plutino.model.errors import KernelError, PlaneError, WireError
from plutino.model.numbers import SPI_RESERVED, U32_MAX
from plutino.model.policy import Default, Policy, PolicyDefaults
from plutino.model.sa import SaName, SaUse, SecurityAssociation
from plutino.netlink.socket import NetlinkSocket, Request
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Message
from plutino.netlink.xfrm.constants import MessageType, SadAttribute, SpdAttribute, Xfrma
from plutino.netlink.xfrm.convert import (
    parse_policy,
    parse_sa,
    policy_id_message,
    policy_message,
    sa_id_message,
    sa_message,
    sa_name_message,
)
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import SadHashInfo, UserSaId, UserSaInfo, UserSpiInfo
from plutino.netlink.xfrm.structures_policy import InfoFlags, SpdInfo, UserPolicyDefault

_Value = TypeVar("_Value")
_NAMING: Final = frozenset({Xfrma.MARK, Xfrma.IF_ID, Xfrma.SA_DIR, Xfrma.SA_PCPU})
_SPIS: Final = range(SPI_RESERVED + 1, U32_MAX + 1)
_CREATE = NLM_F_CREATE | NLM_F_EXCL


@dataclass(frozen=True, slots=True)
class SadInfo:
    """Number of SAs, and the buckets of their hash table, now and at most."""

    count: int
    buckets: int
    most_buckets: int


class XfrmClient:
    """SAs and policies of one data plane.

    Every method raises KernelError with errno and extack on refusal, PlaneError if the plane does
    not answer or cannot be understood.
    """

    def __init__(self, socket: NetlinkSocket) -> None:
        self._socket = socket

    def add_sa(self, sa: SecurityAssociation) -> None:
        """XFRM_MSG_NEWSA; EEXIST if its identity is taken."""
        self._send(f"add {_name_sa(sa)}", sa_message(sa), _CREATE)

    def update_sa(self, sa: SecurityAssociation) -> None:
        """XFRM_MSG_UPDSA; ESRCH if there is no such SA."""
        self._send(f"update {_name_sa(sa)}", sa_message(sa, MessageType.UPDSA))

    def delete_sa(self, sa: SecurityAssociation) -> None:
        """XFRM_MSG_DELSA; ESRCH if there is no such SA."""
        self._send(f"delete {_name_sa(sa)}", sa_id_message(sa))

    def add_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """Many at once. Raises BatchRefusedError."""
        self._socket.request_many(
            [_request(sa_message(sa), _CREATE) for sa in sas],
            lambda place: f"add {_name_sa(sas[place])}",
        )

    def delete_sas(self, sas: Sequence[SecurityAssociation]) -> None:
        """Many at once. Raises BatchRefusedError."""
        self._socket.request_many(
            [_request(sa_id_message(sa)) for sa in sas],
            lambda place: f"delete {_name_sa(sas[place])}",
        )

    def _delete_larval_sas(self, policies: Iterable[Policy]) -> None:
        """The SAs without SPI that acquires have left for these policies.

        DELSA names an SA by its SPI, so each gets one first (XFRM_MSG_ALLOCSPI, by the acquire's
        sequence number). One that expires meanwhile, or is made into an SA, is none any more.
        """
        reqids = {int(one.reqid) for policy in policies for one in policy.templates}
        for message in self._dump("list SAs", MessageType.GETSA):
            info = message.fixed
            if not isinstance(info, UserSaInfo) or info.id.spi or info.reqid not in reqids:
                continue
            kept = [(one.number, one.value) for one in message.attributes if one.number in _NAMING]
            asked = UserSpiInfo(info, _SPIS.start, _SPIS[-1])
            request = XfrmMessage.build(MessageType.ALLOCSPI, asked, kept)
            with suppress(KernelError):
                given = self._ask("name a larval SA", request, MessageType.NEWSA).fixed
                if isinstance(given, UserSaInfo):
                    name = UserSaId(given.id.daddr, given.id.spi, given.family, given.id.proto)
                    mark = [pair for pair in kept if pair[0] == Xfrma.MARK]
                    delete = XfrmMessage.build(MessageType.DELSA, name, mark)
                    self._send("delete a larval SA", delete)

    def list_sas(self) -> tuple[tuple[SecurityAssociation, SaUse], ...]:
        """Dump of the SAs that the model can express, with their use; all of ours are."""
        parsed = _sas.parse(self._replies("list SAs", MessageType.GETSA))
        return tuple(pair for pair in parsed if pair is not None)

    def find_use(self, name: SaName) -> SaUse | None:
        """XFRM_MSG_GETSA: the use of one SA; None if there is none of that name."""
        step = f"look at SA {name.spi:#010x} to {name.destination}"
        request = sa_name_message(name, MessageType.GETSA)
        try:
            parsed = parse_sa(self._ask(step, request, MessageType.NEWSA))
        except KernelError as error:
            if error.errno != errno.ESRCH:
                raise
            return None
        return None if parsed is None else parsed[1]

    def add_policy(self, policy: Policy) -> None:
        """XFRM_MSG_NEWPOLICY; EEXIST if its identity is taken."""
        self._send(f"add {_name_policy(policy)}", policy_message(policy), _CREATE)

    def update_policy(self, policy: Policy) -> None:
        """XFRM_MSG_UPDPOLICY, which also creates (as the kernel has it)."""
        message = policy_message(policy, MessageType.UPDPOLICY)
        self._send(f"update {_name_policy(policy)}", message)

    def delete_policy(self, policy: Policy) -> None:
        """XFRM_MSG_DELPOLICY; ENOENT if there is no such policy."""
        self._send(f"delete {_name_policy(policy)}", policy_id_message(policy))

    def add_policies(self, policies: Sequence[Policy]) -> None:
        """Many at once. Raises BatchRefusedError."""
        self._socket.request_many(
            [_request(policy_message(policy), _CREATE) for policy in policies],
            lambda place: f"add {_name_policy(policies[place])}",
        )

    def delete_policies(self, policies: Sequence[Policy]) -> None:
        """Many at once; what acquires have left for them goes, too. Raises BatchRefusedError."""
        self._socket.request_many(
            [_request(policy_id_message(policy)) for policy in policies],
            lambda place: f"delete {_name_policy(policies[place])}",
        )
        self._delete_larval_sas(policies)

    def list_policies(self) -> tuple[Policy, ...]:
        """Dump of the policies that the model can express; all of ours are."""
        parsed = _policies.parse(self._replies("list policies", MessageType.GETPOLICY))
        return tuple(policy for policy in parsed if policy is not None)

    def sad_info(self) -> SadInfo:
        """XFRM_MSG_GETSADINFO."""
        step = "count SAs"
        request = XfrmMessage.build(MessageType.GETSADINFO, InfoFlags(0xFFFFFFFF))
        reply = self._ask(step, request, MessageType.NEWSADINFO)
        hashes = _find(reply, SadAttribute.HINFO, SadHashInfo, step)
        return SadInfo(_find(reply, SadAttribute.CNT, int, step), hashes.sadhcnt, hashes.sadhmcnt)

    def spd_info(self) -> SpdInfo:
        """XFRM_MSG_GETSPDINFO: numbers of policies by direction."""
        step = "count policies"
        request = XfrmMessage.build(MessageType.GETSPDINFO, InfoFlags(0xFFFFFFFF))
        reply = self._ask(step, request, MessageType.NEWSPDINFO)
        return _find(reply, SpdAttribute.INFO, SpdInfo, step)

    def get_default(self) -> PolicyDefaults:
        """XFRM_MSG_GETDEFAULT (since Linux 5.15)."""
        step = "read the policy defaults"
        request = XfrmMessage.build(MessageType.GETDEFAULT, UserPolicyDefault())
        fixed = self._ask(step, request, MessageType.GETDEFAULT).fixed
        try:
            if isinstance(fixed, UserPolicyDefault):
                return PolicyDefaults(Default(fixed.in_), Default(fixed.fwd), Default(fixed.out))
        except ValueError as error:
            raise PlaneError(f"{step}: {error}") from error
        raise PlaneError(f"{step}: the answer holds none")

    def set_default(self, defaults: PolicyDefaults) -> None:
        """XFRM_MSG_SETDEFAULT; UNSPEC leaves a direction as it is."""
        fixed = UserPolicyDefault(defaults.inbound, defaults.forward, defaults.outbound)
        self._send("set the policy defaults", XfrmMessage.build(MessageType.SETDEFAULT, fixed))

    def _send(self, step: str, message: XfrmMessage, flags: int = 0) -> tuple[Message, ...]:
        return self._socket.request(step, message.kind, message.encode(), flags=flags)

    def _dump(self, step: str, kind: MessageType) -> tuple[XfrmMessage, ...]:
        return _parse_all(step, self._replies(step, kind))

    def _replies(self, step: str, kind: MessageType) -> tuple[Message, ...]:
        return self._send(step, XfrmMessage(kind, None, is_dump=True), NLM_F_DUMP)

    def _ask(self, step: str, request: XfrmMessage, answer: MessageType) -> XfrmMessage:
        for message in _parse_all(step, self._send(step, request)):
            if message.kind is answer:
                return message
        raise PlaneError(f"{step}: no {answer.name} came back")


class _Dumps(Generic[_Value]):
    """What messages of a dump mean, so that those that were in the last one are not read again.

    Thousands of SAs and policies are listed every few seconds, and most are as they were.
    """

    def __init__(self, step: str, read: Callable[[XfrmMessage], _Value]) -> None:
        self._step = step
        self._read = read
        self._last: dict[tuple[int, bytes], _Value] = {}

    def parse(self, messages: Iterable[Message]) -> list[_Value]:
        """In their order. PlaneError for one that cannot be read."""
        last, found = self._last, {}
        values = []
        for message in messages:
            key = message.type, message.payload
            if key not in last:
                (whole,) = _parse_all(self._step, [message])
                found[key] = self._read(whole)
            else:
                found[key] = last[key]
            values.append(found[key])
        self._last = found
        return values


_sas: Final = _Dumps("list SAs", parse_sa)
_policies: Final = _Dumps("list policies", parse_policy)


def _request(message: XfrmMessage, flags: int = 0) -> Request:
    return (message.kind, message.encode(), flags)


def _parse_all(step: str, messages: Iterable[Message]) -> tuple[XfrmMessage, ...]:
    try:
        return tuple(map(XfrmMessage.parse, messages))
    except WireError as error:
        raise PlaneError(f"{step}: the answer cannot be read: {error}") from error


def _find(message: XfrmMessage, number: int, expected: type[_Value], step: str) -> _Value:
    value = message.find(number, expected)
    if value is None:
        raise PlaneError(f"{step}: the answer lacks attribute {number}")
    return value


def _name_sa(sa: SecurityAssociation) -> str:
    return f"SA {sa.spi} to {sa.destination}"


def _name_policy(policy: Policy) -> str:
    direction = policy.direction.name.lower()
    return f"{direction} policy {policy.selector} of if_id {int(policy.if_id)}"
