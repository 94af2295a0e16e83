"""Other IKE daemons as peers of a lab: as Debian packages them, unpacked and not installed."""
