"""What other CHILD_SAs of a tunnel change by themselves: its SAs and its policies. Pure.

Where only keys are other ones, nothing else of a gateway has to be looked at, and a handshake costs
the same beside ten tunnels and beside ten thousand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.numbers import tunnel_numbers
from plutino.desired.child_sas import compile_children, paths_in_use, sending_child
from plutino.desired.sas import compile_policies, tunnel_reqid
from plutino.desired.sequences import Sequences
from plutino.desired.state import DesiredState, ObservedState
from plutino.model.child_sa import ChildSa
from plutino.model.path import TunnelPaths
from plutino.model.policy import Policy
from plutino.model.sa import SecurityAssociation

Children = Mapping[str, Sequence[ChildSa]]
"""By tunnel name."""
NOWHERE: Final[Mapping[str, TunnelPaths]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rekeying:
    """SAs and policies of some tunnels as they are and as they should be.

    Those of ``woken`` send again, those of ``ended`` no more. ``left`` are those of which more
    would have to change: a path, or an interface that nothing can leave by. A path that a peer from
    anywhere has by its CHILD_SA alone is none of these; ``stay`` are those that it has no more, and
    has policies for all the same.
    """

    there: ObservedState
    wanted: DesiredState
    woken: tuple[str, ...]
    ended: tuple[str, ...]
    left: frozenset[str]
    stay: Mapping[str, TunnelPaths]


def compile_rekeying(
    gateway: Gateway,
    ways: Mapping[str, TunnelPaths],
    before: Children,
    after: Children,
    sequences: Sequences,
    *,
    stay: Mapping[str, TunnelPaths] = NOWHERE,
) -> Rekeying:
    """The tunnels of ``after``, whose CHILD_SAs were those of ``before``, on the paths of ``ways``.

    The policies of one that sends no more stay, so that nothing of it leaves in clear; that its
    interface rests then is for a pass. ``stay`` are paths of policies that are there from before.
    """
    there: list[tuple[tuple[Policy, ...], tuple[SecurityAssociation, ...]]] = []
    wanted: list[tuple[tuple[Policy, ...], tuple[SecurityAssociation, ...]]] = []
    woken, ended, left = [], [], []
    stays: dict[str, TunnelPaths] = {}
    for name, children in after.items():
        old, paths = before.get(name, ()), ways.get(name)
        in_use = None if paths is None or paths.lost else paths_in_use(paths, old)
        after_it = None if paths is None else paths_in_use(paths, children)
        did_send, sends = sending_child(old) is not None, sending_child(children) is not None
        if in_use is None or after_it is None:
            left.append(name)
            continue
        if after_it != in_use and not _comes_or_goes(in_use, after_it):
            left.append(name)
            continue
        last = stay.get(name, in_use)
        if not sends and last != after_it:
            # The policies of one that goes stay until the pass, as all others' do.
            after_it = stays[name] = last
        there.append(_compile(gateway, name, last, old, sequences))
        wanted.append(_compile(gateway, name, after_it, children, sequences))
        if sends and not did_send:
            woken.append(name)
        elif did_send and not sends:
            ended.append(name)
    return Rekeying(
        ObservedState(
            policies=tuple(one for policies, _ in there for one in policies),
            sas=tuple(one for _, sas in there for one in sas),
        ),
        DesiredState(
            gateway.instance,
            policies=tuple(one for policies, _ in wanted for one in policies),
            sas=tuple(one for _, sas in wanted for one in sas),
        ),
        tuple(woken),
        tuple(ended),
        frozenset(left),
        stays,
    )


def _comes_or_goes(before: TunnelPaths, after: TunnelPaths) -> bool:
    """Whether a peer that may be anywhere is somewhere now, or is no more.

    While it is nowhere its tunnel has no policies, and no SA that sends.
    """
    is_alone = len(before.every) == 1 and before.every[0].uplink is None
    ends = before.active.remote.is_unspecified, after.active.remote.is_unspecified
    return is_alone and ends in {(True, False), (False, True)}


def _compile(
    gateway: Gateway,
    name: str,
    paths: TunnelPaths,
    children: Sequence[ChildSa],
    sequences: Sequences,
) -> tuple[tuple[Policy, ...], tuple[SecurityAssociation, ...]]:
    tunnel, numbers = gateway.tunnels[name], tunnel_numbers(gateway, name)
    reqid = tunnel_reqid(gateway.instance, name)
    sas = compile_children(
        tunnel, paths.active, children, numbers, reqid=reqid, sequences=sequences
    )
    return tuple(compile_policies(tunnel, paths, numbers, reqid, children)), tuple(sas)
