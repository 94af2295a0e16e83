"""Started by the daemon: descriptors of the pipe and of the socket for sockets, an empty folder."""

import importlib
import os
import pkgutil
import socket
import sys
import traceback
from pathlib import Path
from typing import Final

import cryptography

from plutino.ike import auth
from plutino.ike_process.privileges import drop_privileges
from plutino.ike_process.worker import Worker

FAILED: Final = 70
"""EX_SOFTWARE."""
_LEFT_OUT: Final = ("cryptography.hazmat.primitives.serialization.ssh", "cryptography.fernet")


def _load_what_comes_late() -> None:
    """What is imported at first use, when files are out of sight.

    That is much of ``cryptography``, and the kinds of credentials, which unpickling asks for.
    """
    for package in (cryptography, auth):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(_LEFT_OUT):
                importlib.import_module(module.name)


def _main() -> int:
    pipe, descriptors = (socket.socket(fileno=int(one)) for one in sys.argv[1:3])
    note_keys = sys.argv[4:] == ["keys"]
    _load_what_comes_late()
    if os.geteuid() == 0:
        kept = drop_privileges(Path(sys.argv[3]))
        if kept:
            words = f"plutino: warning: the IKE process keeps {', '.join(kept)}"
            print(words, file=sys.stderr, flush=True)
    try:
        Worker(pipe, descriptors, note_keys=note_keys).run()
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        print(f"plutino: IKE: {type(error).__name__} at {where}", file=sys.stderr, flush=True)
        return FAILED
    return 0


if __name__ == "__main__":
    # Whatever the interpreter would do at its end: it is not needed, and its files are not there.
    os._exit(_main())
