"""IANA's numbers of IKEv2 ("Internet Key Exchange Version 2 (IKEv2) Parameters").

Numbers on the wire stay plain ``int`` in parsed values, since unknown ones survive; these name the
ones we know.
"""

from enum import IntEnum, IntFlag
from typing import Final

IKE_PORT: Final = 500
KEEPALIVE: Final = b"\xff"
"""Of a NAT's mapping, without the non-ESP marker (RFC 3948, 2.3)."""
MAJOR_VERSION: Final = 2
MINOR_VERSION: Final = 0
NONCE_SIZES: Final = range(16, 257)
"""Bytes of a nonce (RFC 7296, 3.9)."""


class ExchangeType(IntEnum):
    """RFC 7296, 3.1, and RFC 9242."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    IKE_INTERMEDIATE = 43
    IKE_FOLLOWUP_KE = 44


class Flag(IntFlag):
    """Flags of the header (RFC 7296, 3.1)."""

    INITIATOR = 0x08
    VERSION = 0x10
    RESPONSE = 0x20


class PayloadType(IntEnum):
    """RFC 7296, 3.2, and RFC 7383."""

    NONE = 0
    SA = 33
    KE = 34
    ID_I = 35
    ID_R = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR_ID = 43
    TS_I = 44
    TS_R = 45
    SK = 46
    CP = 47
    EAP = 48
    SKF = 53


class Protocol(IntEnum):
    """Security protocol identifiers (RFC 7296, 3.3.1)."""

    NONE = 0
    IKE = 1
    AH = 2
    ESP = 3


class TransformType(IntEnum):
    """RFC 7296, 3.3.2, and RFC 9370, 2.2.1."""

    ENCR = 1
    PRF = 2
    INTEG = 3
    KE = 4
    ESN = 5
    ADDKE1 = 6
    ADDKE2 = 7
    ADDKE3 = 8
    ADDKE4 = 9
    ADDKE5 = 10
    ADDKE6 = 11
    ADDKE7 = 12


ADDITIONAL_KEY_EXCHANGES: Final = tuple(range(TransformType.ADDKE1, TransformType.ADDKE7 + 1))
NO_TRANSFORM: Final = 0
"""NONE of INTEG and KE, and "no extended sequence numbers" of ESN."""


class NotifyType(IntEnum):
    """Errors are below 16384 (RFC 7296, 3.10.1), status above."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    INTERNAL_ADDRESS_FAILURE = 36
    FAILED_CP_REQUIRED = 37
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    UNACCEPTABLE_ADDRESSES = 40
    UNEXPECTED_NAT_DETECTED = 41
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44
    STATE_NOT_FOUND = 47
    INITIAL_CONTACT = 16384
    SET_WINDOW_SIZE = 16385
    ADDITIONAL_TS_POSSIBLE = 16386
    IPCOMP_SUPPORTED = 16387
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    HTTP_CERT_LOOKUP_SUPPORTED = 16392
    REKEY_SA = 16393
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394
    NON_FIRST_FRAGMENTS_ALSO = 16395
    MOBIKE_SUPPORTED = 16396
    ADDITIONAL_IP4_ADDRESS = 16397
    ADDITIONAL_IP6_ADDRESS = 16398
    NO_ADDITIONAL_ADDRESSES = 16399
    UPDATE_SA_ADDRESSES = 16400
    COOKIE2 = 16401
    NO_NATS_ALLOWED = 16402
    CHILDLESS_IKEV2_SUPPORTED = 16418
    FRAGMENTATION_SUPPORTED = 16430
    SIGNATURE_HASH_ALGORITHMS = 16431
    USE_PPK = 16435
    PPK_IDENTITY = 16436
    NO_PPK_AUTH = 16437
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438
    ADDITIONAL_KEY_EXCHANGE = 16441
    USE_BEET_MODE = 40961


FIRST_STATUS: Final = 16384
"""Notify types below are errors (RFC 7296, 3.10.1)."""


class AttributeType(IntEnum):
    """Transform attributes (RFC 7296, 3.3.5)."""

    KEY_LENGTH = 14


class TsType(IntEnum):
    """Traffic selector types (RFC 7296, 3.13.1)."""

    IPV4_ADDR_RANGE = 7
    IPV6_ADDR_RANGE = 8


def name_of(kind: type[IntEnum], number: int) -> str:
    """IANA's name, or the number where we know none."""
    try:
        return kind(number).name
    except ValueError:
        return str(number)
