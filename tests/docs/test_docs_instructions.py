"""The generated part of the instruction reference is current, and the same wherever it is generated."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ofacore.plugin import Attribute, ModalityManifest, Registry, SlotType
from ofacore.plugin.manifest import CONTRACT, Component
from tools.docs.instructions_page import MARKER, page, reference_markdown

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "instructions.md"


def test_the_committed_page_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    projects = [
        tomllib.loads(path.read_text())["project"] for path in ROOT.glob("plugins/*/pyproject.toml")
    ]
    plugins = [project["name"] for project in projects if "entry-points" in project]
    monkeypatch.setenv("OFA_PLUGINS", ",".join(["ofacore", *plugins]))
    current = PAGE.read_text(encoding="utf-8")
    advice = "write it anew: python -m tools.docs.instructions_page docs/instructions.md"
    assert current == page(current, Registry.discover()), advice


def smell(attributes: tuple[Attribute, ...]) -> ModalityManifest:
    slot = SlotType(
        "SMELL", "A smell.", "smell", "a word", lambda value: True, attributes, views=("smell",)
    )
    return ModalityManifest(
        "smell", CONTRACT, (slot,), (Component("preprocessor", "smell", "nose:Smell", "sniffs"),)
    )


def test_attributes_stand_with_type_limits_default_side_and_doc_in_a_fixed_order() -> None:
    attributes = (
        Attribute("strength", "float", 0.5, "how strong", ("target",), minimum=0, maximum=1),
        Attribute("kind", "choice", "sweet", "a|b", choices=("sweet", "sour")),
    )
    text = reference_markdown(Registry.of(smell(attributes)))
    assert r"| `kind` | `sweet`, `sour` | `sweet` | both | A\|b. |" in text
    assert "| `strength` | float, ≥ 0, ≤ 1 | `0.5` | target | How strong. |" in text
    assert text == reference_markdown(Registry.of(smell(attributes[::-1])))


def test_what_stands_before_the_marker_is_kept() -> None:
    registry = Registry.of(smell(()))
    written = page(f"words\n{MARKER}old", registry)
    assert written.startswith(f"words\n{MARKER}") and "old" not in written
    assert page(written, registry) == written
    with pytest.raises(ValueError, match="once"):
        page("words", registry)
