"""What all tables of a gateway file have in common."""

from pydantic import BaseModel, ConfigDict


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Table(BaseModel):
    """A TOML table: unknown keys are errors, keys are written with hyphens."""

    model_config = ConfigDict(alias_generator=_kebab, extra="forbid", frozen=True)
