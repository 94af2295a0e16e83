"""libreswan needs the kernel's ESP and XFRM interfaces: only guests collect its tests."""

import os

from plutino.lab.guest.run import GUEST_VARIABLE

collect_ignore_glob = [] if GUEST_VARIABLE in os.environ else ["test_libreswan*.py"]
