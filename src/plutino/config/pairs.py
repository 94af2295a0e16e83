"""`child-sas = "per-pair"`: a tunnel as several, each for one pair of its selectors. Pure.

A peer may take one pair in a CHILD_SA alone (RFC 7296, 2.9, SINGLE_PAIR_REQUIRED). From here on the
others of a tunnel are tunnels too, by the same interface and the same IKE SA.
"""

from collections.abc import Iterator
from itertools import combinations, product
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.ike import OF_A_CHILD_SA, IkeKeying
from plutino.config.numbers import tunnel_if_id
from plutino.config.positions import Finding, KeyPath
from plutino.config.tunnel import Tunnel
from plutino.model.traffic import EVERYTHING, NetworkSelector

MOST_PAIRS: Final = 64
"""They come one after another, and all are told and kept with their IKE SA."""
_OF_ALL: Final = {"addresses": (), "routes": ()}
"""What stands at the first one alone."""


def check_pairs(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    """What does not go with a CHILD_SA for each."""
    if tunnel.ike is None or tunnel.ike.child_sas == "one":
        return
    where: KeyPath = (*at, "ike", "child-sas")
    if tunnel.mode != "tunnel":
        yield where, f"is for tunnel mode: {tunnel.mode} has one pair of addresses", "remove it"
    elif len(_pairs(tunnel)) > MOST_PAIRS:
        why = f"makes {len(_pairs(tunnel))} CHILD_SAs of `local-ts` and `remote-ts`"
        yield where, why, f"{MOST_PAIRS} at most; give fewer and larger networks"
    else:
        yield from _check_types(tunnel, at)


def _check_types(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    """Types of ICMP are those of the sender: what comes back would be of two pairs."""
    for key, selectors in (("local-ts", tunnel.local_ts), ("remote-ts", tunnel.remote_ts)):
        for (_, one), (number, other) in combinations(enumerate(selectors), 2):
            if one.of_any_type.overlaps(other.of_any_type):
                why = f"{other} and {one} have the same packets in the other direction"
                hint = "with `child-sas` there is one CHILD_SA for each; give one for all types"
                yield (*at, key, number), why, hint


def separate_pairs(gateway: Gateway) -> Gateway:
    """The gateway with a tunnel for each pair of selectors of those that want it so.

    The first one bears the name, and the others that with a number: ``berlin#2``.
    """
    tunnels: dict[str, Tunnel] = {}
    for name, tunnel in gateway.tunnels.items():
        tunnels[name] = tunnel
        if tunnel.ike is None or tunnel.ike.child_sas == "one":
            continue
        first, *others = (
            {"local_ts": (ours,), "remote_ts": (theirs,)} for ours, theirs in _pairs(tunnel)
        )
        tunnels[name] = tunnel.model_copy(update=first)
        if_id = tunnel_if_id(gateway, name)
        ike = _of_the_same_ike_sa(tunnel.ike, name)
        for number, pair in enumerate(others, 2):
            update = {**_OF_ALL, **pair, "if_id": int(if_id) or None, "ike": ike}
            tunnels[f"{name}#{number}"] = tunnel.model_copy(update=update)
    if len(tunnels) == len(gateway.tunnels):
        return gateway
    return gateway.model_copy(update={"tunnels": tunnels})


def _pairs(tunnel: Tunnel) -> list[tuple[NetworkSelector, NetworkSelector]]:
    both = product(tunnel.local_ts or EVERYTHING, tunnel.remote_ts or EVERYTHING)
    return [one for one in both if one[0].meets(one[1])]


def _of_the_same_ike_sa(ike: IkeKeying, name: str) -> IkeKeying:
    given = {key: getattr(ike, key) for key in OF_A_CHILD_SA & ike.model_fields_set}
    owner = ike.ike_sa_of or name
    return IkeKeying().model_copy(update=given | {"ike_sa_of": owner})
