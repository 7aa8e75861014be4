"""The generated page and the schema tell the truth."""

from __future__ import annotations

from pathlib import Path

from ofacore.config import json_schema
from ofacore.config.schema import RunConfig
from ofacore.config.section import Section
from tools.docs.configuration_page import reference_markdown

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_committed_page_is_current() -> None:
    advice = "python -m tools.docs.configuration_page docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == reference_markdown(), f"write it anew: {advice}"


def test_every_key_is_described() -> None:
    sections = Section.__subclasses__()
    missing = [
        f"{c.__name__}.{name}"
        for c in sections
        for name, field in c.model_fields.items()
        if not field.description
    ]
    assert len(sections) > 10 and not missing


def test_the_json_schema_refuses_unknown_keys_and_knows_all_top_level_ones() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {*RunConfig.model_fields, "_include"}
