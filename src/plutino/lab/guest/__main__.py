"""``python -m plutino.lab.guest [--kernel NAME] -- COMMAND...``: a command inside a booted kernel.

Its exit code is the command's; 124 if the time limit passed, 125 if there was no guest or it broke.
"""

import os
import sys
from typing import Final

import click

from plutino.lab.guest.cache import default_kernel, find_prepared
from plutino.lab.guest.errors import GuestError, TimeLimitError
from plutino.lab.guest.kernels import DEFAULT_KERNELS, KERNELS, find_kernel
from plutino.lab.guest.prepare import prepare
from plutino.lab.guest.processes import SignalError, signals_raised
from plutino.lab.guest.run import Limits, guest_environment, run_in_guest

EXIT_TIME: Final = 124
EXIT_BROKEN: Final = 125


@click.command(
    epilog="Exit codes: the command's; 124 the time limit passed, 125 no guest or it broke.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--kernel", "name", default=default_kernel, help="see --list",
    show_default=f"the first that is ready of {', '.join(DEFAULT_KERNELS)}",
)  # fmt: skip
@click.option(
    "--timeout", "seconds", type=click.FloatRange(min=0.1), default=Limits().seconds,
    show_default=True, help="seconds from the start until the guest is killed",
)  # fmt: skip
@click.option(
    "--memory", type=click.IntRange(min=128), default=Limits().memory, show_default=True,
    help="MiB of memory",
)  # fmt: skip
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="one more variable")
@click.option("--list", "listing", is_flag=True, help="list the kernels and whether they are ready")
@click.option(
    "--prepare",
    "preparing",
    is_flag=True,
    help="make the kernel ready, if it is not, and run nothing",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def guest(
    *,
    name: str,
    seconds: float,
    memory: int,
    variables: tuple[str, ...],
    listing: bool,
    preparing: bool,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND as root in a guest, in this folder, on this machine's own files.

    The guest may write anywhere, and nothing stays. It has no network but its own loopback.
    """
    if listing:
        _list_kernels()
        return
    if not command and not preparing:
        raise click.UsageError("no command")
    try:
        with signals_raised():
            kernel = find_kernel(name)
            if preparing and find_prepared(kernel) is not None:
                return
            prepared = prepare(kernel, lambda text: _say(f"{kernel.name}: {text}"))
            if preparing:
                _say(f"{kernel.name}: ready in {prepared}")
                return
            environment = guest_environment(kernel, os.environ)
            environment |= dict(_parse_variable(text) for text in variables)
            code = run_in_guest(kernel, prepared, command, environment, Limits(seconds, memory))
    except GuestError as error:
        _say(str(error))
        if error.hint is not None:
            click.echo(f"  hint: {error.hint}", err=True)
        code = EXIT_TIME if isinstance(error, TimeLimitError) else EXIT_BROKEN
    except SignalError as error:
        code = 128 + error.number
    sys.exit(code)


def _list_kernels() -> None:
    for kernel in KERNELS.values():
        prepared = find_prepared(kernel)
        state = "not prepared" if prepared is None else f"ready: {prepared}"
        click.echo(f"{kernel.name:<10} {kernel.about}; {state}")


def _parse_variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.UsageError(f"--env wants NAME=VALUE, not {text!r}")
    return name, value


def _say(text: str) -> None:
    click.echo(f"guest: {text}", err=True)


if __name__ == "__main__":
    guest(prog_name="python -m plutino.lab.guest")
