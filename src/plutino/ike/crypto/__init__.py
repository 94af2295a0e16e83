"""Cryptographic primitives of IKEv2 by their IANA numbers; random bytes come in as arguments."""
