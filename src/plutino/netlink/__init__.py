"""Netlink: the XFRM and rtnetlink codecs (pure) and the sockets to kernel and engine."""
