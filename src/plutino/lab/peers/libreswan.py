"""libreswan's pluto in a network namespace, driven by whack and addconn.

It sees its files over /usr in a mount namespace of its own, with a /run of its own, so that
nothing of the machine's is touched and several run beside each other. Its configuration, secrets
and NSS database lie in a folder. ESP is the kernel's: pluto has none of its own.
"""

import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.peers.ending import kill, terminate
from plutino.model.errors import PlaneError

P12_PASSWORD: Final = "lab"  # noqa: S105
"""That of ``certificates/*.p12``; NSS reads none without."""
_PROGRAMS: Final = "/usr/libexec/ipsec"
_CONF: Final = """\
config setup
    logfile={folder}/pluto.log
    logappend=yes
    nssdir={folder}/nss
    secretsfile={folder}/ipsec.secrets
    ipsecdir={folder}
    dumpdir={folder}
    dnssec-enable=no
{setup}
"""
_START: Final = """\
set -e
cd {folder}
mount -t overlay overlay -o lowerdir={root}/usr:/usr /usr
mount -t tmpfs tmpfs /run
mkdir /run/pluto
if [ ! -d nss ]; then
  mkdir nss
  certutil -N -d sql:nss --empty-password
  for one in authorities/*.pem; do
    [ ! -f $one ] || certutil -A -d sql:nss -n $(basename $one .pem) -t CT,, -i $one
  done
  for one in certificates/*.p12; do
    [ ! -f $one ] || pk12util -i $one -d sql:nss -W {password}
  done
  for one in crls/*.crl; do
    [ ! -f $one ] || crlutil -I -i $one -d sql:nss
  done
fi
# What one that was killed has left: it takes no interface that is there already.
ip xfrm policy flush
ip xfrm state flush
for one in $(ip -o link show type xfrm | cut -d: -f2 | cut -d@ -f1); do ip link delete $one; done
exec {programs}/pluto --nofork --config {folder}/ipsec.conf
"""
_TIMEOUT: Final = 60.0
_PAUSE: Final = 0.02


@dataclass(slots=True)
class Libreswan:
    """One pluto. ``root`` has its files, ``folder`` its configuration, log and database.

    ``connections`` are the sections of ipsec.conf by name, ``secrets`` the text of ipsec.secrets,
    ``setup`` further lines for all connections. Before the start ``authorities/NAME.pem``,
    ``certificates/*.p12`` and ``crls/*.crl`` in the folder are taken into the database.
    """

    namespace: NetworkNamespace
    folder: Path
    root: Path
    connections: dict[str, str]
    secrets: str
    setup: str = ""
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """Starts it with its connections; PlaneError with its log if it does not come up."""
        sections = "".join(f"\nconn {name}\n{text}" for name, text in self.connections.items())
        conf = _CONF.format(folder=self.folder, setup=self.setup)
        (self.folder / "ipsec.conf").write_text(conf + sections)
        (self.folder / "ipsec.secrets").touch(mode=0o600)
        (self.folder / "ipsec.secrets").write_text(self.secrets)
        script = _START.format(
            folder=self.folder, root=self.root, password=P12_PASSWORD, programs=_PROGRAMS
        )
        with self.namespace.entered(), (self.folder / "pluto.stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        deadline = time.monotonic() + _TIMEOUT
        while self._run("whack", "--listen").returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise PlaneError(f"pluto does not start: {self.log()[-2000:]}")
            time.sleep(_PAUSE)
        for name in self.connections:
            done = self._run("addconn", "--config", str(self.folder / "ipsec.conf"), name)
            if done.returncode != 0:
                words = f"{done.stdout}{done.stderr}".strip()
                raise PlaneError(f"pluto does not take {name}: {words}\n{self.log()[-2000:]}")

    def whack(self, *arguments: str) -> str:
        """Tells pluto something and waits for the end of it; its words. PlaneError if it fails."""
        done = self._run("whack", *arguments)
        words = f"{done.stdout}{done.stderr}".strip()
        if done.returncode != 0:
            raise PlaneError(f"whack {' '.join(arguments)}: {words}\n{self.log()[-3000:]}")
        return words

    def states(self) -> dict[int, str]:
        """What it says of each state, IKE SA or CHILD_SA, that is established; by number."""
        said = self.whack("--showstates")
        lines = re.findall(r"#(\d+): (.*ESTABLISHED_\S+ .*)", said)
        return {int(number): words for number, words in lines}

    def log(self) -> str:
        """All that pluto has said."""
        parts = [self.folder / "pluto.stderr", self.folder / "pluto.log"]
        return "".join(one.read_text(errors="replace") for one in parts if one.exists())

    def kill(self) -> None:
        """Ends it without a word."""
        if self.process is not None:
            kill(self.process)
            self.process = None

    def close(self) -> None:
        """Ends it; its peers are told."""
        if self.process is not None:
            terminate(self.process, _TIMEOUT)
            self.process = None

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        assert self.process is not None
        return subprocess.run(
            ["nsenter", "-t", str(self.process.pid), "--mount", f"{_PROGRAMS}/{program}",
             *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )  # fmt: skip
