"""Where one instance keeps its sockets, its lock and what must survive a restart."""

import os
from dataclasses import dataclass
from pathlib import Path

from plutino.model.errors import PlaneError
from plutino.model.instance import is_instance_name

RUNTIME_VARIABLE = "PLUTINO_RUNTIME_DIR"
STATE_VARIABLE = "PLUTINO_STATE_DIR"
_LONGEST_SOCKET_PATH = 107
"""``sun_path`` has 108 bytes with its NUL."""


@dataclass(frozen=True, slots=True)
class RuntimePaths:
    """Files of one instance: sockets and locks until the next boot, state beyond it."""

    directory: Path
    state_directory: Path

    @classmethod
    def of(cls, instance: str) -> "RuntimePaths":
        """Under /run/plutino and /var/lib/plutino, or where the environment says.

        Raises PlaneError if it is no name of an instance, which would lead to another folder, or
        if the path is too long for a UNIX socket.
        """
        if not is_instance_name(instance):
            raise PlaneError(
                f"'{instance}' is no name of an instance",
                hint="a name is letters, digits, `_`, `.` and `-`, such as `instance` in the file",
            )
        runtime = Path(os.environ.get(RUNTIME_VARIABLE) or "/run/plutino")
        state = Path(os.environ.get(STATE_VARIABLE) or "/var/lib/plutino")
        paths = cls(runtime / instance, state / instance)
        if len(os.fsencode(paths.control_socket)) > _LONGEST_SOCKET_PATH:
            raise PlaneError(
                f"the path {paths.control_socket} is too long for a socket",
                hint=f"choose a shorter {RUNTIME_VARIABLE}",
            )
        return paths

    @property
    def engine_socket(self) -> Path:
        """The engine's, see docs/engine-protocol.md."""
        return self.directory / "engine.sock"

    @property
    def engine_log(self) -> Path:
        """What the engine writes to stderr."""
        return self.directory / "engine.log"

    @property
    def holder_socket(self) -> Path:
        """Of the process that holds the kernel's sockets for ESP in UDP."""
        return self.directory / "holder.sock"

    @property
    def control_socket(self) -> Path:
        """The daemon's."""
        return self.directory / "control.sock"

    @property
    def daemon_lock(self) -> Path:
        """Held by the one daemon of an instance."""
        return self.directory / "daemon.lock"

    @property
    def pass_lock(self) -> Path:
        """Held during one pass of observe and apply."""
        return self.directory / "pass.lock"

    @property
    def plane_choice(self) -> Path:
        """Which data plane serves the instance, and why."""
        return self.directory / "plane.json"

    @property
    def reqids(self) -> Path:
        """Reqids that the instance has used in the kernel."""
        return self.directory / "reqids"

    @property
    def links(self) -> Path:
        """Links that the instance was about to make in the kernel."""
        return self.directory / "links"

    @property
    def namespaces(self) -> Path:
        """Other network namespaces that the instance has put links into."""
        return self.directory / "namespaces"

    @property
    def netfilter(self) -> Path:
        """Text and listing of the instance's nftables table."""
        return self.directory / "netfilter.json"

    @property
    def former_defaults(self) -> Path:
        """The policy defaults that were there before the instance set its own."""
        return self.directory / "former-defaults"

    @property
    def sysctls(self) -> Path:
        """Settings of devices as they were before the instance changed them."""
        return self.directory / "sysctls"

    @property
    def health(self) -> Path:
        """Ways of which the daemon found that they carry nothing."""
        return self.directory / "health.json"

    @property
    def ike_key(self) -> Path:
        """What opens the files of ``ike_folder``."""
        return self.directory / "ike.key"

    @property
    def empty_folder(self) -> Path:
        """With nothing in it: all that the IKE process sees of the file system."""
        return self.directory / "empty"

    @property
    def ike_folder(self) -> Path:
        """With the IKE SAs, encrypted."""
        return self.state_directory / "ike"

    @property
    def sequences(self) -> Path:
        """Sequence numbers of SAs with static keys."""
        return self.state_directory / "sequences.json"

    def create(self) -> None:
        """Make the runtime directory, for its owner alone. Raises PlaneError if that fails."""
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            hint = "run as root" if os.geteuid() != 0 else None
            raise PlaneError(f"{self.directory} cannot be made: {error.strerror}", hint) from error
        if self.directory.stat().st_uid != os.geteuid():
            raise PlaneError(
                f"{self.directory} belongs to another user",
                hint="run as its owner, or remove it",
            )
