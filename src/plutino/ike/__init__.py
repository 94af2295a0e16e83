"""IKEv2 (RFC 7296), sans-IO: datagrams and time in, datagrams and events out."""
