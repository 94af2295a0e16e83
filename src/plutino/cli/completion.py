"""`plutino completion`."""

import click
from click.shell_completion import get_completion_class


@click.command(epilog="Example: plutino completion bash > /etc/bash_completion.d/plutino")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    script = get_completion_class(shell)
    assert script is not None, "click knows the shells of the choice"
    program = script(ctx.find_root().command, {}, "plutino", "_PLUTINO_COMPLETE")
    click.echo(program.source())
