"""Blocks of the documentation, as somebody would paste them."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def block(page: str, beginning: str, language: str = "") -> str:
    """The one block of a page of docs/ that begins with these words."""
    text = (DOCS / page).read_text()
    found = [
        body
        for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        if kind == language and body.startswith(beginning)
    ]
    (only,) = found
    return str(only)
