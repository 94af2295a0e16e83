"""What is needed of a tunnel's keys, by IKE or static. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.ike import OF_A_CHILD_SA, IkeKeying
from plutino.config.positions import Finding, KeyPath
from plutino.config.proposals import WEAK_WORDS, parse_proposal
from plutino.config.tunnel import Tunnel
from plutino.model.identity import identity_of

_RESPONDER: Final = re.compile(r"http://[A-Za-z0-9.\-\[\]:]{1,255}(/[!-~]{0,700})?")
"""RFC 6960 has responders answer in clear, since they sign."""
_OF_THE_PATH: Final = ("local", "remote_as_written", "remotes", "uplinks", "encapsulation")
_PROOFS_OF_OURS: Final = ("local_psk_file", "private_key")
_PROOFS_OF_THE_PEER: Final = ("remote_psk_file", "authorities", "remote_public_key")


def check_keying(tunnel: Tunnel, at: KeyPath) -> Iterator[Finding]:
    """Exactly one way to get keys, and proposals that make sense."""
    if (tunnel.static is None) == (tunnel.ike is None):
        how = "keys come from one alone" if tunnel.ike else "it has no keys"
        yield at, f"needs either `ike` or `static`: {how}", "such as `ike.psk-file`"
    if tunnel.ike is None:
        return
    yield from _check_ike(tunnel.ike, (*at, "ike"))
    if tunnel.uplinks and tunnel.ike.local_id is None and tunnel.ike.ike_sa_of is None:
        why = "is needed with `uplinks`: our address is not always the same"
        yield (*at, "ike", "local-id"), why, 'such as "paris.example"'
    if tunnel.standby:
        yield (*at, "standby"), "has static keys: IKE moves its SAs by itself", "remove it"
    if tunnel.mark_in or tunnel.mark_out:
        yield (*at, "mark-in"), "needs `static` keys so far", None


def check_shared_ike_sas(gateway: Gateway) -> Iterator[Finding]:
    """Tunnels of one IKE SA go by the same path, and their selectors tell them apart."""
    for name, tunnel in gateway.tunnels.items():
        if tunnel.ike is None or tunnel.ike.ike_sa_of is None:
            continue
        at: KeyPath = ("tunnels", name, "ike", "ike-sa-of")
        other = gateway.tunnels.get(tunnel.ike.ike_sa_of)
        if other is None or other.ike is None or other.ike.ike_sa_of is not None:
            yield at, f"{tunnel.ike.ike_sa_of!r} is no tunnel with an IKE SA of its own", None
            continue
        for key in _OF_THE_PATH:
            if getattr(tunnel, key) != getattr(other, key):
                where = str(Tunnel.model_fields[key].alias)
                why = f"`{where}` must be that of tunnel '{tunnel.ike.ike_sa_of}'"
                yield ("tunnels", name, where), why, None
    selectors: dict[tuple[object, ...], str] = {}
    for name, tunnel in gateway.tunnels.items():
        if tunnel.ike is None:
            continue
        owner = tunnel.ike.ike_sa_of or name
        mine = owner, frozenset(tunnel.local_ts), frozenset(tunnel.remote_ts)
        first = selectors.setdefault(mine, name)
        if first != name:
            why = f"and `local-ts` are those of tunnel '{first}', whose IKE SA it shares"
            yield ("tunnels", name, "remote-ts"), why, "nothing else tells the two apart"


def _check_ike(ike: IkeKeying, at: KeyPath) -> Iterator[Finding]:
    if ike.ike_sa_of is not None:
        for key in sorted(ike.model_fields_set - OF_A_CHILD_SA):
            where = (*at, key.replace("_", "-"))
            yield where, f"belongs to the IKE SA: write it at tunnel '{ike.ike_sa_of}'", None
    else:
        yield from _check_identities(ike, at)
        yield from _check_proof(ike, at)
        yield from _check_revocation(ike, at)
        yield from _check_postquantum_key(ike, at)
    for number, word in enumerate(ike.allow_weak):
        if word not in WEAK_WORDS:
            hint = f"one of {', '.join(WEAK_WORDS)}"
            yield (*at, "allow-weak", number), f"{word!r} is not known as weak", hint
    for key, texts, for_ike in (
        ("proposals", ike.proposals, True),
        ("esp-proposals", ike.esp_proposals, False),
    ):
        if not texts:
            yield (*at, key), "must have one proposal at least", None
        for number, text in enumerate(texts):
            try:
                parse_proposal(text, for_ike=for_ike, weak=ike.allow_weak)
            except ValueError as error:
                yield (*at, key, number), str(error), None


def _check_identities(ike: IkeKeying, at: KeyPath) -> Iterator[Finding]:
    for key, text in (("local-id", ike.local_id), ("remote-id", ike.remote_id)):
        if text is not None:
            try:
                identity_of(text)
            except ValueError as error:
                yield (*at, key), f"{text!r}: {error}", 'such as "paris.example"'


def _check_proof(ike: IkeKeying, at: KeyPath) -> Iterator[Finding]:
    """One proof of ours and one of the peer's, be they of one kind or not (RFC 7296, 2.15)."""
    if not any(getattr(ike, key) for key in ("psk_file", *_PROOFS_OF_OURS, *_PROOFS_OF_THE_PEER)):
        why = "needs `psk-file`, or what we prove ourselves by and what the peer does"
        yield at, why, "such as `certificate` and `private-key`, and `authorities`"
        return
    for whose, keys, other_end in (
        ("we prove ourselves", _PROOFS_OF_OURS, "remote"),
        ("the peer proves itself", _PROOFS_OF_THE_PEER, "local"),
    ):
        given = [_spelled(key) for key in ("psk_file", *keys) if getattr(ike, key) is not None]
        if not given:
            *others, last = (f"`{_spelled(key)}`" for key in keys)
            choice = f"{', '.join(others)} or {last}"
            hint = "a pre-shared key that both ends have is `psk-file` alone"
            yield at, f"does not say what {whose} by: needs {choice}", hint
        for key in given[1:]:
            hint = "remove one of the two"
            if given[0] == "psk-file":
                hint += f"; a pre-shared key for the other end alone is `{other_end}-psk-file`"
            yield (*at, key), f"{whose} by `{given[0]}` already", hint
    if ike.certificate is not None and ike.private_key is None:
        yield (*at, "certificate"), "needs `private-key`: the file of its key", "or remove it"


def _spelled(field: str) -> str:
    return field.replace("_", "-")


def _check_revocation(ike: IkeKeying, at: KeyPath) -> Iterator[Finding]:
    if ike.crls and ike.authorities is None:
        why = "needs `authorities`: only their certificates can be revoked"
        yield (*at, "crls"), why, "remove it"
    if ike.crl_policy == "strict" and not ike.crls:
        yield (*at, "crl-policy"), "needs `crls`: without any, nobody could connect", None
    if ike.ocsp_policy != "off" and ike.authorities is None:
        why = "needs `authorities`: only their certificates can be revoked"
        yield (*at, "ocsp-policy"), why, "remove it"
    if ike.ocsp_url is not None:
        if ike.ocsp_policy == "off":
            yield (*at, "ocsp-url"), "nobody asks it: needs `ocsp-policy`", '"if-present", "strict"'
        if not _RESPONDER.fullmatch(ike.ocsp_url):
            why = f"{ike.ocsp_url!r} is no URL of a responder"
            yield (*at, "ocsp-url"), why, 'such as "http://ocsp.example:2560/"'
    if ike.ocsp_response_file is not None and ike.certificate is None:
        yield (*at, "ocsp-response-file"), "needs `certificate`: it is about that", "remove it"


def _check_postquantum_key(ike: IkeKeying, at: KeyPath) -> Iterator[Finding]:
    if ike.ppk_file is not None and ike.ppk_id is None:
        why = "is needed with `ppk-file`: the key's name, as the peer has it"
        yield (*at, "ppk-id"), why, 'such as "paris-berlin-2026"'
    if ike.ppk_file is None:
        for key in ("ppk_id", "ppk_required"):
            if key in ike.model_fields_set:
                why = "says something of a key that is not there: needs `ppk-file`"
                yield (*at, key.replace("_", "-")), why, "such as `openssl rand -base64 32` prints"
