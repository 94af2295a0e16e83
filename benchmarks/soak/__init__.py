"""Traffic at full rate for an hour, with rekeys, devices that come and go, and a bad wire.

```
send ─ TUN ─ engine "one" ─ wire (tapped) [─ forward, which loses and reorders ─] engine "two" ─ TUN ─ receive
```
Packets are numbered inside; traffic runs at compiled speed (``traffic.c``).
"""  # noqa: E501
