"""An nftables table of ours: one for each instance, as text."""

from dataclasses import dataclass
from typing import Final

TABLE_PREFIX: Final = "plutino_"


@dataclass(frozen=True, slots=True)
class NetfilterTable:
    """Table ``name`` of family inet. ``body`` is what stands between its braces, in nft's words."""

    name: str
    body: str


def table_name(instance: str) -> str:
    """The table of an instance, which is its tag too: nft's names have no other signs."""
    return TABLE_PREFIX + "".join(sign if sign.isalnum() else "_" for sign in instance)
