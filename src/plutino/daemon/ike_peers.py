"""The gateway file's tunnels to the peers of the IKE core, and to its paths. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from plutino.config.credentials import SignatureFiles
from plutino.config.files import LoadedGateway
from plutino.config.gateway import Gateway
from plutino.config.ike import IkeKeying
from plutino.config.proposals import parse_proposal
from plutino.config.tunnel import Tunnel
from plutino.daemon.ocsp_client import Outside
from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.credentials import (
    LocalCredential,
    LocalPresharedKey,
    RemoteCredential,
    RemotePresharedKey,
)
from plutino.ike.auth.identity import Identity, parse_identity
from plutino.ike.auth.raw_keys import LocalRawKey, RemoteRawKey
from plutino.ike.auth.revocation import OcspPolicy, Revocation
from plutino.ike.config import (
    ChildConfig,
    Lifetimes,
    PeerConfig,
    PostquantumKey,
    Retransmission,
)
from plutino.ike.exchanges.child_offer import MOST_SELECTORS
from plutino.ike.narrowing import selector_of_side
from plutino.ike.path import Path, first_path
from plutino.ike.payloads.proposal import Transform
from plutino.ike.proposals import Suite
from plutino.ike_process.commands import SetOwnAddresses
from plutino.model.child_sa import ChildSa
from plutino.model.path import TunnelPaths
from plutino.model.policy import IpAddress, Mode
from plutino.model.secret import Secret
from plutino.model.traffic import EVERYTHING, at_address, count_pairs


def peers_of(loaded: LoadedGateway) -> Iterator[PeerConfig]:
    """One peer for each IKE SA, of the name of the tunnel that it stands at."""
    shared = _sharing(loaded.gateway)
    for name, tunnel in loaded.gateway.tunnels.items():
        if tunnel.ike is not None and tunnel.ike.ike_sa_of is None:
            credentials = _credentials(loaded, name, tunnel, tunnel.ike)
            peer = _peer(name, tunnel, tunnel.ike, credentials)
            children = tuple(_child(*one) for one in shared[name])
            ppk = _postquantum_key(loaded, name, tunnel.ike)
            yield replace(peer, children=children, ppk=ppk)


def peer_name(gateway: Gateway, tunnel: str) -> str | None:
    """Whose IKE SA makes a tunnel's keys; None where IKE does not."""
    ike = gateway.tunnels[tunnel].ike
    return None if ike is None else ike.ike_sa_of or tunnel


def starts_now(tunnel: Tunnel) -> bool:
    """Whether a tunnel is brought up without anybody asking for it."""
    return tunnel.ike is not None and tunnel.ike.start == "now"


def may_have(gateway: Gateway, peer: str, child: ChildSa) -> bool:
    """Whether the file allows a peer that CHILD_SA."""
    tunnel = gateway.tunnels.get(child.tunnel)
    mine = tunnel is not None and peer_name(gateway, child.tunnel) == peer
    return tunnel is not None and mine and is_allowed(tunnel, child)


def is_allowed(tunnel: Tunnel, child: ChildSa) -> bool:
    """Whether mode and selectors of a CHILD_SA are within what the file has."""
    mode = Mode[tunnel.mode.upper()]
    is_at_ends = mode is Mode.TRANSPORT
    if child.mode not in {mode, Mode.TUNNEL} or not (child.local_ts and child.remote_ts):
        return False
    if child.local.version != child.remote.version:
        return False
    own = tunnel.local_ts or EVERYTHING, tunnel.remote_ts or EVERYTHING
    most = max(MOST_SELECTORS, count_pairs(*own))  # as IKE itself counts them
    if count_pairs(child.local_ts, child.remote_ts, most) > most:
        return False
    sides = (child.local_ts, own[0], child.local), (child.remote_ts, own[1], child.remote)
    # IKE narrows to parts of what was configured, and joins none.
    return all(
        any(one.is_within(whole) for whole in (at_address(allowed, end) if is_at_ends else allowed))
        for several, allowed, end in sides
        for one in several
    )


def _sharing(gateway: Gateway) -> dict[str, list[tuple[str, Tunnel]]]:
    """The tunnels of each IKE SA, the one that it stands at first."""
    found: dict[str, list[tuple[str, Tunnel]]] = {}
    for name, tunnel in gateway.tunnels.items():
        peer = peer_name(gateway, name)
        if peer is not None:
            place = 0 if peer == name else len(found.get(peer, ()))
            found.setdefault(peer, []).insert(place, (name, tunnel))
    return found


def fingerprints_of(loaded: LoadedGateway) -> dict[str, bytes]:
    """What tells whether a peer is configured as it was, by tunnel name; secret, as its keys are.

    An IKE SA that was saved under another configuration is not taken up. What is as it is without
    a word in the file does not count: the next version may have more of that.
    """
    found = {}
    for name, tunnels in _sharing(loaded.gateway).items():
        digest = sha256()
        for tunnel_name, tunnel in tunnels:
            digest.update(
                tunnel_name.encode() + tunnel.model_dump_json(exclude_defaults=True).encode()
            )
        shared = loaded.shared_keys[name]
        for key in (shared.local, shared.remote):
            octets = b"" if key is None else key.reveal()
            digest.update(len(octets).to_bytes(4, "big") + octets)
        if (ppk := loaded.postquantum_keys.get(name)) is not None:
            digest.update(ppk.reveal())
        if (files := loaded.signature_files.get(name)) is not None:
            if files.key is not None:
                own = files.key.public_key()
                digest.update(own.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
            digest.update(files.peer_key or b"")
            for one in (*files.chain, *files.authorities):
                digest.update(one.public_bytes(Encoding.DER))
            for revoked in files.revoked:
                digest.update(revoked.public_bytes(Encoding.DER))
        found[name] = digest.digest()
    return found


class Ways:
    """The paths of tunnels as the last pass has found them."""

    def __init__(self, paths: Mapping[str, TunnelPaths]) -> None:
        self._paths = paths
        every = [one for several in paths.values() for one in several.every]
        self._marks = {(one.local, one.remote): one.set_mark.value for one in every}
        self._by_address = {
            address: one.set_mark.value for one in every for address in (one.remote, one.local)
        }

    @property
    def versions(self) -> frozenset[int]:
        """The IP versions of peers that are somewhere."""
        every = (one.remote for several in self._paths.values() for one in several.every)
        return frozenset(one.version for one in every if not one.is_unspecified)

    @property
    def is_any_lost(self) -> bool:
        """Whether one of them carries nothing."""
        return any(map(self.lost, self._paths))

    def mark_of(self, path: Path) -> int:
        """What IKE's own packets bear, so that they are routed as ESP on that path is.

        From an address of ours to one that is not known, such as a NAT's, as others from there.
        """
        here, there = path.local.address, path.remote.address
        found = self._marks.get((here, there))
        if found is None:
            found = self._by_address.get(here, self._by_address.get(there, 0))
        return found

    def first(self, name: str) -> Path | None:
        """Where a handshake of a tunnel goes from and to; None while it has no address."""
        several = self._paths.get(name)
        if several is None or several.active.local is None:
            return None
        if several.active.remote.is_unspecified:
            return None
        return first_path(several.active.local, several.active.remote)

    def own_addresses(self, names: Iterable[str]) -> Iterator[SetOwnAddresses]:
        """Of tunnels with uplinks: our addresses that carry something, the best first."""
        for name in names:
            several = self._paths.get(name)
            if several is None or len({one.local for one in several.every}) == 1:
                continue
            usable = (one.local for one in several.every if one.usable)
            found = dict.fromkeys(one for one in usable if one is not None)
            yield SetOwnAddresses(name, tuple(found))

    def outside(self, name: str) -> Outside:
        """How what is not for the tunnel itself, and yet of it, gets to the network."""
        several = self._paths.get(name)
        if several is None:
            return Outside(None, 0)
        return Outside(several.active.local, several.active.set_mark.value)

    def lost(self, name: str) -> frozenset[tuple[IpAddress, IpAddress]]:
        """The pairs of our address and the peer's that carry nothing."""
        several = self._paths.get(name)
        every = () if several is None else several.every
        return frozenset(
            (one.local, one.remote) for one in every if one.local is not None and not one.usable
        )


def ocsp_policy(peer: PeerConfig, url: str) -> OcspPolicy | None:
    """By which the responder at a URL may be asked about a peer; None if it may not."""
    credential = peer.remote_credential
    policy = credential.revocation.ocsp if isinstance(credential, TrustedAuthorities) else None
    return policy if policy is not None and policy.url in (None, url) else None


def _credentials(
    loaded: LoadedGateway, name: str, tunnel: Tunnel, ike: IkeKeying
) -> tuple[LocalCredential, RemoteCredential]:
    """What we prove ourselves by, and what the peer does."""
    keys = loaded.shared_keys[name]
    local = parse_identity(ike.local_id or str(tunnel.local))
    remote = parse_identity(ike.remote_id or tunnel.remote_as_written)
    files = loaded.signature_files.get(name)
    return _ours(local, keys.local, files), _the_peers(remote, keys.remote, files, ike)


def _ours(identity: Identity, key: Secret | None, files: SignatureFiles | None) -> LocalCredential:
    if key is not None:
        return LocalPresharedKey(identity, key)
    assert files is not None
    assert files.key is not None
    if files.chain:
        return LocalCertificate(identity, files.key, files.chain, files.ocsp_response)
    return LocalRawKey.of(identity, files.key)


def _the_peers(
    identity: Identity, key: Secret | None, files: SignatureFiles | None, ike: IkeKeying
) -> RemoteCredential:
    if key is not None:
        return RemotePresharedKey(identity, key)
    assert files is not None
    if files.peer_key is not None:
        return RemoteRawKey(identity, files.peer_key)
    ocsp = None
    if ike.ocsp_policy != "off":
        ocsp = OcspPolicy(ike.ocsp_policy == "strict", ike.ocsp_url)
    revocation = Revocation(files.revoked, ike.crl_policy == "strict", ocsp)
    return TrustedAuthorities(identity, files.authorities, revocation)


def _postquantum_key(loaded: LoadedGateway, name: str, ike: IkeKeying) -> PostquantumKey | None:
    key = loaded.postquantum_keys.get(name)
    if key is None:
        return None
    assert ike.ppk_id is not None
    return PostquantumKey(ike.ppk_id.encode(), key, ike.ppk_required)


def _peer(
    name: str,
    tunnel: Tunnel,
    ike: IkeKeying,
    credentials: tuple[LocalCredential, RemoteCredential],
) -> PeerConfig:
    return PeerConfig(
        name=name,
        suites=tuple(_suite(one, for_ike=True, weak=ike.allow_weak) for one in ike.proposals),
        local_credential=credentials[0],
        remote_credential=credentials[1],
        local=None if tunnel.uplinks else tunnel.local,
        remotes=() if tunnel.is_roaming else tunnel.peers,
        lifetimes=Lifetimes(ike.ike_rekey_after, ike.rekey_jitter),
        reauthenticate_after=ike.reauthenticate_after,
        liveness_after=ike.liveness_after,
        retransmission=Retransmission(ike.retransmit_after, tries=ike.retransmit_tries),
        mobike=ike.mobike,
        childless=ike.childless,
        fragment_size=ike.fragment_size,
        window=ike.window,
        force_encapsulation=tunnel.encapsulation == "udp",
    )


def _child(name: str, tunnel: Tunnel) -> ChildConfig:
    ike = tunnel.ike
    assert ike is not None
    return ChildConfig(
        name=name,
        suites=tuple(_suite(one, for_ike=False, weak=ike.allow_weak) for one in ike.esp_proposals),
        local=tuple(map(selector_of_side, tunnel.local_ts or EVERYTHING)),
        remote=tuple(map(selector_of_side, tunnel.remote_ts or EVERYTHING)),
        mode=Mode[tunnel.mode.upper()],
        lifetimes=Lifetimes(ike.rekey_after, ike.rekey_jitter),
    )


@cache
def _suite(text: str, *, for_ike: bool, weak: tuple[str, ...]) -> Suite:
    """The same value for the same words: peers share it, and are compared fast."""
    proposal = parse_proposal(text, for_ike=for_ike, weak=weak)
    return tuple(Transform(one.type, one.number, one.key_bits) for one in proposal)
