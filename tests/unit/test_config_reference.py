"""The committed reference is what the program prints."""

import json
from pathlib import Path

from plutino.config.reference import TABLES, json_schema, reference_page

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_is_up_to_date() -> None:
    page = (REFERENCE / "configuration.md").read_text()
    assert page == reference_page(), "run: plutino reference > docs/reference/configuration.md"


def test_the_schema_is_up_to_date() -> None:
    text = (REFERENCE / "gateway.schema.json").read_text()
    assert text == json_schema(), (
        "run: plutino reference --json-schema > docs/reference/gateway.schema.json"
    )
    assert json.loads(text)["additionalProperties"] is False


def test_every_option_is_described() -> None:
    for _title, model in TABLES:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no description"
            assert f"`{field.alias}`" in reference_page()
