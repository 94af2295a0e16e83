"""The payloads of IKEv2 (RFC 7296, 3), one frozen value each with ``parse`` and ``encode``."""
