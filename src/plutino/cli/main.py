"""The command `plutino`: commands are imported when they are called, so that it starts fast."""

import errno
import gc
import importlib
import os
import sys
import traceback
from keyword import iskeyword
from typing import Final

import click

from plutino import __version__
from plutino.cli import exit_codes
from plutino.model.errors import ConfigError, PlutinoError

_COMMANDS: Final = {
    "run": "the daemon, in the foreground: make it so and keep it so",
    "plan": "print what `apply` will do",
    "apply": "make it so; a second time does nothing",
    "status": "tunnels, SAs, counters, problems",
    "down": "take everything of ours away",
    "doctor": "what this machine's kernel can do, and which data plane `auto` takes",
    "keygen": "make static keys for both ends of a tunnel",
    "import": "turn live VTIs into a gateway file with XFRM interfaces",
    "export": "the stanza of FRR, BIRD or systemd-networkd that goes with a gateway",
    "demo": "show a tunnel between two hosts on this machine",
    "reference": "print every option of the configuration",
    "completion": "print the completion script of a shell",
}


class _LazyGroup(click.Group):
    """A group whose commands live in modules of their own names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        gc.disable()  # what is loaded is no garbage: looking for some takes a tenth of the time
        module = importlib.import_module(f"plutino.cli.{name}")
        gc.freeze()
        gc.enable()
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 up but degraded.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="plutino")
def cli() -> None:
    """Route-based IPsec for Linux.

    \b
    plutino keygen paris berlin     # keys for both ends
    plutino plan gateway.toml       # what would happen
    plutino apply gateway.toml      # make it so
    plutino status                  # how it is
    """


def main() -> None:
    """The program; every error becomes words and an exit code."""
    sys.exit(_run())


def _run() -> int:
    try:
        result = cli.main(prog_name="plutino", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return exit_codes.INTERRUPTED
    except Exception as error:
        return _explain(error)
    return result if isinstance(result, int) else exit_codes.DONE


def _explain(error: Exception) -> int:
    """Words on stderr, and the exit code."""
    match error:
        case click.ClickException():
            error.show()
            return exit_codes.USAGE
        case ConfigError():
            for problem in error.problems:
                click.echo(f"plutino: error: {problem}", err=True)
            return exit_codes.USAGE
        case PlutinoError():
            _say(str(error), error.hint)
        case OSError() if error.errno == errno.EPIPE:
            # Whoever read our output has enough; what is left must not make Python complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        case OSError():
            _say(str(error), None)
        case _:
            _say(f"this is a bug in plutino: {type(error).__name__}: {error}", _DEBUG_HINT)
            if os.environ.get("PLUTINO_DEBUG"):
                traceback.print_exception(error)
    return exit_codes.FAILED


_DEBUG_HINT = "please report it with what PLUTINO_DEBUG=1 prints"


def _say(words: str, hint: str | None) -> None:
    click.echo(f"plutino: error: {words}", err=True)
    if hint:
        click.echo(f"  hint: {hint}", err=True)
