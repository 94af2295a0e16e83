"""Which instance a command is about: by a gateway file, by name, or the one applied last."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlaneError

if TYPE_CHECKING:
    from plutino.config.files import LoadedGateway

FILE = click.Path(path_type=Path)


def remember_source(runtime: RuntimePaths, path: Path) -> None:
    """Note which file an instance was made from, for `status` without a file."""
    runtime.create()
    (runtime.directory / "source").write_text(str(path.resolve()))


def load_target(file: Path | None, instance: str) -> "tuple[LoadedGateway, RuntimePaths]":
    """The gateway of ``file``, or the one that ``instance`` was made from.

    Raises ConfigError for a bad file, PlaneError if nothing is known of the instance.
    """
    from plutino.config.files import load_gateway  # noqa: PLC0415 -- slow to load: only if needed

    if file is not None:
        loaded = load_gateway(file)
        return loaded, RuntimePaths.of(loaded.gateway.instance)
    runtime = RuntimePaths.of(instance)
    try:
        source = Path((runtime.directory / "source").read_text())
    except OSError as error:
        raise PlaneError(
            f"nothing runs as instance '{instance}'",
            hint="give the gateway file, or start it with `plutino run FILE`",
        ) from error
    return load_gateway(source), runtime


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2))
