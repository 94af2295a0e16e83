"""The reference page and the JSON Schema, from the descriptions of the options. Pure."""

import json
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plutino.config.device import DeviceSettings
from plutino.config.gateway import Gateway, PolicyDefault
from plutino.config.group import Group, GroupProbeOptions
from plutino.config.ike import IkeKeying
from plutino.config.interface_options import InterfaceOptions
from plutino.config.tunnel import NO_ADDRESS, OffloadOptions, Standby, StaticKeying, Tunnel
from plutino.config.uplink import ProbeOptions, Uplink

TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Top of the file", Gateway),
    ("`[policy-default]`", PolicyDefault),
    ("`[interfaces.NAME]`", InterfaceOptions),
    ("`[devices.NAME]`", DeviceSettings),
    ("`[uplinks.NAME]`", Uplink),
    ("`[uplinks.NAME.probe]`", ProbeOptions),
    ("`[tunnels.NAME]`", Tunnel),
    ("`[tunnels.NAME.static]`", StaticKeying),
    ("`[tunnels.NAME.ike]`", IkeKeying),
    ("`[[tunnels.NAME.standby]]`", Standby),
    ("`[tunnels.NAME.offload]`", OffloadOptions),
    ("`[groups.NAME]`", Group),
    ("`[groups.NAME.probe]`", GroupProbeOptions),
)
"""Every table of a gateway file, in the order of the page."""
_INTRODUCTION = """\
# Configuration

One TOML file per gateway. This page is made from the program: `plutino reference` prints it,
`plutino reference --json-schema` the [JSON Schema](gateway.schema.json) for editors.
"""


def reference_page() -> str:
    """Markdown: every option with its type, default and description."""
    parts = [_INTRODUCTION]
    for title, model in TABLES:
        parts.append(f"\n## {title}\n\n{model.__doc__}\n")
        parts.append("\n| key | type | default | meaning |\n|---|---|---|---|\n")
        parts += [_row(name, field) for name, field in model.model_fields.items()]
    return "".join(parts)


def json_schema() -> str:
    """JSON Schema of a gateway file."""
    schema = Gateway.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _default(name, field.default)
    example = ""
    if field.examples:
        example = f" Example: `{json.dumps(field.examples[0])}`."
    return f"| `{field.alias}` | {_type(field)} | {default} | {field.description}{example} |\n"


def _default(name: str, value: Any) -> str:
    if value is None or value in ((), {}, NO_ADDRESS) or isinstance(value, ProbeOptions):
        return "none"
    return f"`{value:#x}`" if name.endswith("_mask") else f"`{json.dumps(value)}`"


def _type(field: FieldInfo) -> str:
    return _words(field.annotation).replace("|", "\\|")


_WORDS = {
    "IPv4Address": "address",
    "IPv4Interface": "address with prefix length",
    "IPv4Network": "network",
    "NetworkSelector": "traffic selector",
    "str": "text",
    "int": "number",
    "StaticKeying": "table",
    "IkeKeying": "table",
    "OffloadOptions": "table",
    "ProbeOptions": "table",
    "GroupProbeOptions": "table",
    "Standby": "table",
    "float": "number",
    "PolicyDefault": "table",
    "Mark": "mark",
    "bool": "true or false",
    "dict": "tables",
}


def _words(annotation: Any) -> str:
    origin = get_origin(annotation)
    arguments = [one for one in get_args(annotation) if one is not type(None)]
    if origin is tuple:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        is_table = isinstance(arguments[1], type) and issubclass(arguments[1], BaseModel)
        return _WORDS["dict"] if is_table else "table"
    if arguments and all(isinstance(one, str) for one in arguments):
        return " or ".join(f'`"{one}"`' for one in arguments)
    if arguments:
        return _words(arguments[0])
    return _WORDS[annotation.__name__]
