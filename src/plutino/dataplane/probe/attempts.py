"""Tries everything, in one network namespace that nobody sees and that ends at once.

Versions and build options are not believed, since distributions change both.
"""

import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final

from plutino.dataplane.probe.bench import ENDS, IF_ID, REQID, Bench, refused
from plutino.dataplane.probe.links import LINK_ATTEMPTS
from plutino.dataplane.probe.machine import Machine, cure
from plutino.dataplane.probe.needs import NEEDS, Need
from plutino.dataplane.probe.report import Finding, KernelReport
from plutino.dataplane.probe.sas import SA_ATTEMPTS
from plutino.dataplane.scratch import in_scratch_namespace
from plutino.dataplane.xfrm_stat import XFRM_STAT
from plutino.model.errors import KernelError, PlutinoError
from plutino.model.feature import Feature
from plutino.model.policy import Direction, Mode, Policy, Selector, Template
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.convert import encode_address, encode_selector, family_of
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import UserSaId
from plutino.netlink.xfrm.structures_policy import UserMigrate, UserMigrateState, UserPolicyId
from plutino.netlink.xfrm_client import XfrmClient

_ANY: Final = ip_network("0.0.0.0/0")
_EVERYTHING: Final = Selector(_ANY, _ANY)


def probe_kernel(features: Iterable[Feature] = tuple(Feature)) -> KernelReport:
    """Try these features and what they are built on; nothing is left.

    The kernel may load modules for it, so a choice tries no more than it has to. What the kernel
    lacks is no error. Raises ScratchError if nothing can be tried.
    """
    tried = with_bases(features)
    refusals = in_scratch_namespace(lambda: _try_all(tried))
    machine = Machine.here()
    return KernelReport(machine.release, tuple(explain(refusals, machine, tried)))


def with_bases(features: Iterable[Feature]) -> frozenset[Feature]:
    """The features and all that they are built on. Pure."""
    found: set[Feature] = set()
    for feature in features:
        base: Feature | None = feature
        while base is not None:
            found.add(base)
            base = NEEDS[base].base
    return frozenset(found)


def explain(
    refusals: Mapping[Feature, str], machine: Machine, tried: Collection[Feature]
) -> list[Finding]:
    """Findings of what was tried from the words with which some were refused. Pure."""
    findings: list[Finding] = []
    for feature in (one for one in Feature if one in tried):
        need = NEEDS[feature]
        words = refusals.get(feature, "")
        base = need
        while words and base.base is not None and base.base in refusals:
            # What the base lacks is the root: without ESP no SA can have a mark.
            base = NEEDS[base.base]
        finding = Finding(
            feature,
            supported=feature not in refusals,
            words=words,
            needs=_needs(need),
            cure=_cure(base, need, machine) if words else "",
        )
        findings.append(finding)
    return findings


def _cure(base: Need, need: Need, machine: Machine) -> str:
    found = cure(base, machine)
    return f"{found}, or {need.instead}" if base is need and need.instead else found


def _needs(need: Need) -> str:
    words = need.option
    if need.module:
        words += f", module {need.module}"
    return f"{words}, Linux {need.since}" if need.since else words


def _try_all(wanted: frozenset[Feature]) -> dict[Feature, str]:
    """The words of every refusal."""
    refusals: dict[Feature, str] = {}
    with Bench(wanted) as bench:
        for feature in (one for one in Feature if one in wanted):
            base = NEEDS[feature].base
            if base is not None and base in refusals:
                refusals[feature] = f"not tried without {base.value}"
                continue
            try:
                _ATTEMPTS[feature](bench)
            except KernelError as error:
                name = errno.errorcode.get(error.errno, str(error.errno))
                refusals[feature] = f"{error.extack or os.strerror(error.errno)} ({name})"
            except PlutinoError as error:
                refusals[feature] = str(error)
            else:
                bench.found.add(feature)
    return refusals


def _try_policy(bench: Bench) -> None:
    template = Template(*ENDS[4], REQID)
    policy = Policy(Direction.OUT, _EVERYTHING, IF_ID, (template,))
    client = XfrmClient(bench.xfrm)
    client.add_policy(policy)
    if policy not in client.list_policies():
        raise refused("read the policy back", "the kernel made another policy of it")


def _try_policy_default(bench: Bench) -> None:
    XfrmClient(bench.xfrm).get_default()


def _try_migrate(bench: Bench) -> None:
    """Of a policy that is not there: a kernel that can says so."""
    source, destination = ENDS[4]
    move = UserMigrate(
        old_daddr=encode_address(destination),
        old_saddr=encode_address(source),
        new_daddr=encode_address(source),
        new_saddr=encode_address(destination),
        proto=50,
        mode=Mode.TUNNEL,
        reqid=0x7FFF,
        old_family=family_of(source),
        new_family=family_of(source),
    )
    fixed = UserPolicyId(sel=encode_selector(_EVERYTHING), dir=Direction.IN)
    request = XfrmMessage.build(MessageType.MIGRATE, fixed, [(Xfrma.MIGRATE, (move,))])
    _expect(bench, request, errno.ENOENT)


def _try_migrate_state(bench: Bench) -> None:
    """Of an SA that is not there."""
    source, destination = ENDS[4]
    fixed = UserMigrateState(
        id=UserSaId(encode_address(destination), 0x7FFF, family_of(destination), 50),
        new_daddr=encode_address(source),
        new_saddr=encode_address(destination),
        new_family=family_of(source),
    )
    _expect(bench, XfrmMessage.build(MessageType.MIGRATE_STATE, fixed), errno.ESRCH)


def _expect(bench: Bench, request: XfrmMessage, code: int) -> None:
    """A request that a kernel which understands it must refuse in that way."""
    try:
        bench.xfrm.request(f"try {request.kind.name}", request.kind, request.encode())
    except KernelError as error:
        if error.errno != code:
            raise


def _try_statistics(bench: Bench) -> None:
    try:
        XFRM_STAT.read_text()
    except OSError as error:
        raise KernelError(f"read {XFRM_STAT}", error.errno or errno.EIO) from error


_ATTEMPTS: Final[Mapping[Feature, Callable[[Bench], None]]] = MappingProxyType(
    {
        **LINK_ATTEMPTS,
        **SA_ATTEMPTS,
        Feature.POLICY: _try_policy,
        Feature.POLICY_DEFAULT: _try_policy_default,
        Feature.MIGRATE: _try_migrate,
        Feature.MIGRATE_STATE: _try_migrate_state,
        Feature.STATISTICS: _try_statistics,
    }
)
