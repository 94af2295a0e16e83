"""`plutino keygen`."""

import os
from contextlib import suppress
from pathlib import Path

import click

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES
from plutino.model.errors import PlaneError


@click.command(
    epilog="Example: plutino keygen paris berlin     makes paris-berlin.keys, for use at paris, "
    "and berlin-paris.keys, for use at berlin"
)
@click.argument("here")
@click.argument("there")
@click.option(
    "--algorithm",
    type=click.Choice(list(ESP_SUITES)),
    default=DEFAULT_ALGORITHM,
    show_default=True,
    help="Cipher of both directions.",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Folder for both files.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
def keygen(here: str, there: str, algorithm: str, output_dir: Path, force: bool) -> None:
    """Make the matching static keys for both ends of a tunnel: SPIs, algorithm, keys.

    Copy each file to its host by a safe way, and point `static.key-file` to it.
    """
    for name in (here, there):
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise click.BadParameter(f"'{name}' is no name for a file")
    if here == there:
        raise click.BadParameter("both ends have the same name")
    ours, theirs = generate_pair(os.urandom, algorithm)
    first = output_dir / f"{here}-{there}.keys"
    second = output_dir / f"{there}-{here}.keys"
    _write(first, encode_keys(ours, used_at=here, peer=there), force=force)
    try:
        _write(second, encode_keys(theirs, used_at=there, peer=here), force=force)
    except PlaneError:
        first.unlink()  # half a pair is of no use
        raise
    click.echo(f"{first}  for use at {here}")
    click.echo(f"{second}  for use at {there}")


def _write(path: Path, text: str, *, force: bool) -> None:
    if force:
        with suppress(FileNotFoundError):
            path.unlink()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError as error:
        hint = "both ends would have to get new keys: `--force` replaces it"
        raise PlaneError(f"{path} is there already", hint) from error
    except OSError as error:
        raise PlaneError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
