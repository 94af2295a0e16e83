"""``[tunnels.NAME.ike]``: the keys of a tunnel come by IKEv2."""

from typing import Annotated, Final, Literal

from pydantic import Field

from plutino.config.proposals import DEFAULT_ESP, DEFAULT_IKE
from plutino.config.table import Table

OF_A_CHILD_SA: Final = frozenset(
    {
        "ike_sa_of",
        "esp_proposals",
        "allow_weak",
        "start",
        "child_sas",
        "rekey_after",
        "rekey_octets",
        "rekey_packets",
        "rekey_jitter",
    }
)
"""What is of a CHILD_SA, and not of the IKE SA that it comes by."""


class IkeKeying(Table):
    """Keys that both ends make by IKEv2 (RFC 7296)."""

    local_id: Annotated[
        str | None,
        Field(
            description="Who we are to the peer: a name, an address, `user@host`, a certificate's "
            "subject such as `C=CH, O=Example, CN=paris`, a key id such as `@#7061726973` in "
            "hexadecimal; our outer address if not given.",
            examples=["paris.example"],
        ),
    ] = None
    remote_id: Annotated[
        str | None,
        Field(
            description="Who the peer must prove to be; `remote` if not given, but needed where "
            "that is `any`.",
            examples=["berlin.example"],
        ),
    ] = None
    psk_file: Annotated[
        str | None,
        Field(
            description="File with the pre-shared key that both ends prove themselves by, 16 "
            "bytes or more, such as what `openssl rand -base64 32` prints; relative to this file. "
            "Only its owner may be able to read it.",
            examples=["berlin.psk"],
        ),
    ] = None
    local_psk_file: Annotated[
        str | None,
        Field(
            description="The same for a pre-shared key that only we prove ourselves by; the peer "
            "proves itself by another one, a certificate or its public key.",
            examples=["paris.psk"],
        ),
    ] = None
    remote_psk_file: Annotated[
        str | None,
        Field(
            description="The same for a pre-shared key that only the peer proves itself by.",
            examples=["berlin.psk"],
        ),
    ] = None
    certificate: Annotated[
        str | None,
        Field(
            description="File with our certificate and those between it and the authority (PEM); "
            "it must bear `local-id`. None where the peer knows us by our public key.",
            examples=["paris.pem"],
        ),
    ] = None
    private_key: Annotated[
        str | None,
        Field(
            description="File with our private key (PEM, not encrypted), instead of a pre-shared "
            "key: RSA, ECDSA, Ed25519 or Ed448. Only its owner may be able to read it.",
            examples=["paris.key"],
        ),
    ] = None
    authorities: Annotated[
        str | None,
        Field(
            description="File with the certificates (PEM) of the authorities that may vouch for "
            "the peer; its certificate must bear `remote-id`.",
            examples=["ca.pem"],
        ),
    ] = None
    remote_public_key: Annotated[
        str | None,
        Field(
            description="File with the peer's public key (PEM), such as what `openssl pkey "
            "-pubout` prints there, instead of `authorities` (RFC 7670).",
            examples=["berlin.pub"],
        ),
    ] = None
    crls: Annotated[
        tuple[str, ...],
        Field(
            description="Files with certificate revocation lists (PEM or DER), read at start and "
            "reload. A peer whose certificate, or one above it, is on the list of its issuer is "
            "refused; a list that is out of date still revokes what is on it.",
            examples=[["ca.crl"]],
        ),
    ] = ()
    crl_policy: Annotated[
        Literal["if-present", "strict"],
        Field(
            description="`strict`: each certificate of the peer's chain but the authority's own "
            "needs a list of its issuer that is not out of date; `if-present` does without."
        ),
    ] = "if-present"
    ocsp_policy: Annotated[
        Literal["off", "if-present", "strict"],
        Field(
            description="Whether the peer's certificates are checked by OCSP (RFC 6960): the peer "
            "is asked for a response along with its certificate (RFC 4806), and then, by http, the "
            "responder that the certificate names. Who is revoked is refused. `strict`: each "
            "certificate of the chain but the authority's own needs a current response that it is "
            "good, or a current list of `crls` that it is not on; `if-present` does without.",
        ),
    ] = "off"
    ocsp_url: Annotated[
        str | None,
        Field(
            description="The responder for all of the peer's certificates, whatever they name.",
            examples=["http://ocsp.example:2560/"],
        ),
    ] = None
    ocsp_response_file: Annotated[
        str | None,
        Field(
            description="File with a responder's answer about our own certificate (DER), such as "
            "`openssl ocsp -respout` writes, for a peer that asks for it (RFC 4806); read at start "
            "and reload. Another one does not disturb what is up.",
            examples=["paris.ocsp"],
        ),
    ] = None
    ppk_file: Annotated[
        str | None,
        Field(
            description="File with a post-quantum pre-shared key (RFC 8784), 32 bytes or more, "
            "besides what each end proves itself by: whoever can break the key exchange one day "
            "still cannot read ESP. Only its owner may be able to read it.",
            examples=["berlin.ppk"],
        ),
    ] = None
    ppk_id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            description="The name of that key, the same at both ends.",
            examples=["paris-berlin-2026"],
        ),
    ] = None
    ppk_required: Annotated[
        bool,
        Field(description="No IKE SA without that key; `false` while not all peers have it yet."),
    ] = True
    child_sas: Annotated[
        Literal["one", "per-pair"],
        Field(
            description="`one` CHILD_SA for all of `local-ts` and `remote-ts`, or one `per-pair` "
            "of them, by the same IKE SA: for peers that take one network of a side in each."
        ),
    ] = "one"
    ike_sa_of: Annotated[
        str | None,
        Field(
            description="The tunnel to the same peer whose IKE SA makes this one's keys, too. What "
            "concerns the IKE SA stands there: here only what concerns ESP, and `start`. The "
            "tunnels are told apart by `local-ts` and `remote-ts`.",
            examples=["berlin"],
        ),
    ] = None
    proposals: Annotated[
        tuple[str, ...],
        Field(
            description="What the IKE SA may use, the best first, in strongSwan's words; "
            "`ke1_mlkem768` adds a key exchange (RFC 9370)."
        ),
    ] = DEFAULT_IKE
    esp_proposals: Annotated[
        tuple[str, ...],
        Field(
            description="What ESP may use. A key exchange among the words makes each rekey "
            "independent of the keys before (perfect forward secrecy); `ke1_mlkem768` after it "
            "adds another."
        ),
    ] = DEFAULT_ESP
    allow_weak: Annotated[
        tuple[str, ...],
        Field(
            description="Weak algorithms that proposals may name all the same: modp1024, "
            "modp1536, sha1, prfsha1, 3des."
        ),
    ] = ()
    start: Annotated[
        Literal["now", "on-traffic", "listen"],
        Field(
            description="`now` connects by itself and again whenever it is lost; `on-traffic` "
            "when a packet needs it; `listen` leaves it to the peer."
        ),
    ] = "now"
    rekey_after: Annotated[
        float, Field(ge=10, le=604800, description="Seconds until ESP gets new keys.")
    ] = 3600.0
    rekey_octets: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1 << 20,
            le=1 << 62,
            description="Bytes of inner packets, of either direction, after which ESP gets new "
            "keys before its time.",
            examples=[1 << 40],
        ),
    ] = None
    rekey_packets: Annotated[
        int,
        Field(
            strict=True,
            ge=100,
            le=3 << 30,
            description="Packets of either direction after which ESP gets new keys before its "
            "time, where the peer has no extended sequence numbers: 4294967295 are its end.",
        ),
    ] = 3 << 30
    ike_rekey_after: Annotated[
        float, Field(ge=10, le=604800, description="Seconds until the IKE SA gets new keys.")
    ] = 14400.0
    rekey_jitter: Annotated[
        float, Field(ge=0, le=0.5, description="Share of that time by which it comes earlier.")
    ] = 0.1
    reauthenticate_after: Annotated[
        float | None,
        Field(ge=60, le=2592000, description="Seconds until both prove again who they are."),
    ] = None
    liveness_after: Annotated[
        float,
        Field(
            ge=1,
            le=3600,
            description="Seconds of silence after which the peer is asked whether it lives. "
            "ESP that comes is no silence.",
        ),
    ] = 30.0
    retransmit_after: Annotated[
        float, Field(ge=0.1, le=10, description="Seconds until a request is sent again.")
    ] = 1.0
    retransmit_tries: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=15,
            description="Repetitions until the peer is held to be dead, "
            "each 1.8 times later than the one before.",
        ),
    ] = 6
    window: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=16,
            description="Requests of IKE that either end may have under way at once, as far as the "
            "peer allows it too: of use where an IKE SA makes the keys of many tunnels "
            "(`ike-sa-of`).",
        ),
    ] = 1
    childless: Annotated[
        bool,
        Field(
            description="The IKE SA comes up without ESP, which follows by an exchange of its own "
            "(RFC 6023): where `esp-proposals` name a key exchange, the first keys of ESP have one "
            "too, and not from the first rekey on. One more round trip; as ever with a peer that "
            "cannot."
        ),
    ] = False
    mobike: Annotated[
        bool, Field(description="The IKE SA and its ESP may move to other addresses (RFC 4555).")
    ] = True
    fragment_size: Annotated[
        int,
        Field(
            strict=True,
            ge=576,
            le=65535,
            description="Bytes of the largest IP packet of IKE; "
            "longer messages are cut (RFC 7383).",
        ),
    ] = 1280
