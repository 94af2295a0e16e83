"""The numbers that tie interface, SA and policy together: SPI, if_id, reqid and marks."""

from dataclasses import dataclass
from typing import Self

U32_MAX = 0xFFFFFFFF
SPI_RESERVED = 255
"""SPIs 1 to 255 are reserved by IANA, 0 is for local use (RFC 4303, 2.1)."""


class _Unsigned32(int):
    """An unsigned 32-bit number with a name of its own."""

    def __new__(cls, value: int) -> Self:
        if not 0 <= value <= U32_MAX:
            raise ValueError(f"{cls.__name__} must be between 0 and {U32_MAX}, not {value}")
        return super().__new__(cls, value)


class Spi(_Unsigned32):
    """Security Parameters Index of an SA (RFC 4303, 2.1), in host order here."""

    def __str__(self) -> str:
        return f"0x{int(self):08x}"


class IfId(_Unsigned32):
    """XFRM interface id, which must be equal in interface, SA and policy; 0 means none."""


class ReqId(_Unsigned32):
    """Links a policy's template to its SAs (``xfrm_user_tmpl.reqid``)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value under a mask, as in ``struct xfrm_mark`` and XFRMA_SET_MARK with its mask."""

    value: int
    mask: int = U32_MAX

    def __post_init__(self) -> None:
        if not 0 <= self.value <= U32_MAX or not 0 <= self.mask <= U32_MAX:
            raise ValueError(f"mark {self.value:#x}/{self.mask:#x} does not fit 32 bits")

    def __str__(self) -> str:
        return f"{self.value:#x}/{self.mask:#x}"
