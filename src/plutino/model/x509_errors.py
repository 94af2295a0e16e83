"""What ``cryptography`` raises of certificates and lists that are malformed or strange."""

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

MALFORMED: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""Only the first is an error of values to it; a peer can bring about each."""
