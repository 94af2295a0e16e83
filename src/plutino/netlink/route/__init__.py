"""rtnetlink messages (``linux/rtnetlink.h``, ``if_link.h``, ``if_addr.h``), pure."""
