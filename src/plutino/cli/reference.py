"""`plutino reference`."""

import click

from plutino.config.reference import json_schema, reference_page


@click.command(epilog="Example: plutino reference --json-schema > gateway.schema.json")
@click.option("--json-schema", "as_schema", is_flag=True, help="Print the JSON Schema instead.")
def reference(as_schema: bool) -> None:
    """Print every option of the configuration, with its type, default and meaning."""
    click.echo(json_schema() if as_schema else reference_page(), nl=False)
