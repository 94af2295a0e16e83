"""A newer suite of the machine's own Debian mirror, seen by a private configuration of apt.

The machine's sources, lists and packages stay as they are: only downloads by that configuration
see the suite.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from plutino.lab.guest.errors import GuestError

_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CONFIGURATION: Final = """\
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
"""


def private_apt(suite: str, folder: Path) -> Mapping[str, str]:
    """Variables that make apt see that suite alone; ``folder`` keeps its lists.

    Raises GuestError if the machine's sources name no mirror.
    """
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    mirrors = sorted({site for site in done.stdout.split() if "security" not in site})
    if not mirrors:
        raise GuestError("apt has no mirror of Debian configured", hint="apt-get update")
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    source = f"deb [signed-by={_KEYRING}] {mirrors[0]} {suite} main\n"
    (folder / "sources.list").write_text(source)
    (folder / "apt.conf").write_text(_CONFIGURATION.format(folder=folder))
    return {"APT_CONFIG": str(folder / "apt.conf")}
