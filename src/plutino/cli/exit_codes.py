"""What a command ends with; the README lists them."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
"""Wrong usage or configuration."""
DEGRADED: Final = 3
"""Up, but something is missing or has to wait."""
INTERRUPTED: Final = 130
"""As a shell has it for SIGINT."""
