"""A setting of one network device (``Documentation/networking/ip-sysctl.rst``)."""

from dataclasses import dataclass

from plutino.model.link import Namespace


@dataclass(frozen=True, slots=True)
class Sysctl:
    """``net.FAMILY.conf.DEVICE.NAME = value``; ``family`` is ``ipv4`` or ``ipv6``."""

    family: str
    device: str
    name: str
    value: str
    namespace: Namespace = None

    @property
    def key(self) -> tuple[Namespace, str, str, str]:
        """Which setting it is, whatever its value."""
        return self.namespace, self.family, self.device, self.name
