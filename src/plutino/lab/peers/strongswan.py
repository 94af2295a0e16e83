"""strongSwan's charon in a network namespace, driven by swanctl.

It sees its files over /usr in a mount namespace of its own, with a /run of its own, so that
nothing of the machine's is touched and several run beside each other. ESP is the kernel's, or
where that has none charon's own in user space (``kernel-libipsec``).
"""

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.peers.ending import kill, terminate
from plutino.model.errors import PlaneError

_PLUGINS: Final = (
    "random nonce openssl aes sha1 sha2 hmac kdf gcm chapoly curve25519 xcbc cmac ctr ccm gmp "
    "pem pkcs1 pkcs8 pubkey x509 curl revocation constraints {kernel} socket-default updown vici"
)
_LIBIPSEC: Final = "kernel-libipsec kernel-netlink"
_CONF: Final = """\
charon {{
  load = {plugins}
  install_routes = no
  install_virtual_ip = no
  plugins {{
    vici {{ socket = unix://{folder}/charon.vici }}
    kernel-libipsec {{ allow_peer_ts = yes }}
  }}
  filelog {{ all {{
    path = {folder}/charon.log
    default = 1
    ike = 2
    flush_line = yes
  }} }}
  {options}
}}
swanctl {{ load = pem pkcs1 pkcs8 pubkey x509 openssl random }}
"""
_TIMEOUT: Final = 30.0


@dataclass(slots=True)
class StrongSwan:
    """One charon. ``root`` has its files, ``folder`` its configuration, log and socket.

    ``connections`` is the text of swanctl.conf; ``options`` goes into charon's own section.
    """

    namespace: NetworkNamespace
    folder: Path
    root: Path
    connections: str
    in_kernel: bool
    options: str = ""
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """Starts it with its connections; PlaneError with its log if it does not come up."""
        kernel = "kernel-netlink" if self.in_kernel else _LIBIPSEC
        plugins = _PLUGINS.format(kernel=kernel)
        conf = _CONF.format(plugins=plugins, folder=self.folder, options=self.options)
        (self.folder / "strongswan.conf").write_text(conf)
        (self.folder / "swanctl.conf").write_text(self.connections)
        script = (
            f"mount -t overlay overlay -o lowerdir={self.root}/usr:/usr /usr && "
            "mount -t tmpfs tmpfs /run && exec /usr/lib/ipsec/charon"
        )
        with self.namespace.entered():
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "charon.stderr").open("wb"),
            )
        deadline = time.monotonic() + _TIMEOUT
        while not (self.folder / "charon.vici").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise PlaneError(f"charon does not start: {self.log()[-2000:]}")
            time.sleep(0.02)
        self.swanctl("--load-all", "--file", str(self.folder / "swanctl.conf"))

    def swanctl(self, *arguments: str) -> str:
        """Runs swanctl; its output. PlaneError if it fails."""
        assert self.process is not None
        done = subprocess.run(
            ["nsenter", "-t", str(self.process.pid), "--mount", "swanctl", *arguments,
             "--uri", f"unix://{self.folder}/charon.vici"],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )  # fmt: skip
        if done.returncode != 0:
            words = f"{done.stdout}{done.stderr}".strip()
            raise PlaneError(f"swanctl {' '.join(arguments)}: {words}\n{self.log()[-3000:]}")
        return done.stdout

    def log(self) -> str:
        """All that charon has said."""
        parts = [self.folder / "charon.stderr", self.folder / "charon.log"]
        return "".join(one.read_text(errors="replace") for one in parts if one.exists())

    def kill(self) -> None:
        """Ends it without a word."""
        if self.process is not None:
            kill(self.process)
            self.process = None
            (self.folder / "charon.vici").unlink(missing_ok=True)  # it could not be bound again

    def close(self) -> None:
        """Ends it."""
        if self.process is not None:
            terminate(self.process, _TIMEOUT)
            self.process = None

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "STRONGSWAN_CONF": str(self.folder / "strongswan.conf"),
            "SWANCTL_DIR": str(self.folder),
        }
