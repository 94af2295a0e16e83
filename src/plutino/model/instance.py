"""What tells gateways of one machine apart."""

import re
from typing import Final

DEFAULT_INSTANCE: Final = "default"
"""The name of a gateway that is given none; its files, tags and numbers are the plain ones."""
INSTANCE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$"
"""What a name may be: it names a folder that `down` deletes, so it never leads elsewhere."""


def is_instance_name(text: str) -> bool:
    """Whether a gateway may have this name."""
    return re.fullmatch(INSTANCE_PATTERN.strip("^$"), text) is not None
