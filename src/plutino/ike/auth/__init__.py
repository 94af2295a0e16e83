"""Who is who: identities, pre-shared keys, signatures and certificates (RFC 7296, 2.15)."""
