"""What all tables of a gateway file have in common."""

from pydantic import BaseModel, ConfigDict


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Table(BaseModel):
    """A TOML table: unknown keys are errors, keys are written with hyphens."""

    # Only the whole is ever validated: a table by itself need not be made ready for that.
    model_config = ConfigDict(alias_generator=_kebab, extra="forbid", frozen=True, defer_build=True)
