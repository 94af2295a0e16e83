"""The XFRM codec: every message and attribute of ``linux/xfrm.h`` in values, without I/O."""
