"""What tells gateways of one machine apart."""

from typing import Final

DEFAULT_INSTANCE: Final = "default"
"""The name of a gateway that is given none; its files, tags and numbers are the plain ones."""
