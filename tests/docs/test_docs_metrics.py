"""The pages of metrics and presets are current."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ofacore.config.sizes import PRESETS
from ofacore.plugin import Registry
from tools.docs import metrics_page, presets_page

ROOT = Path(__file__).parents[2]


def test_the_page_of_metrics_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    projects = [
        tomllib.loads(path.read_text())["project"] for path in ROOT.glob("plugins/*/pyproject.toml")
    ]
    plugins = [project["name"] for project in projects if "entry-points" in project]
    monkeypatch.setenv("OFA_PLUGINS", ",".join(["ofacore", *plugins]))
    found = metrics_page.reference_markdown(Registry.discover())
    advice = "write it anew: python -m tools.docs.metrics_page docs/metrics.md"
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == found, advice
    assert "| `accuracy` | share of predictions equal to the reference | higher |" in found
    assert "| lower |" in found.partition("`cer`")[2].partition("\n")[0]


def test_the_page_of_presets_is_current() -> None:
    current = (ROOT / "docs/presets.md").read_text(encoding="utf-8")
    advice = "write it anew: python -m tools.docs.presets_page docs/presets.md"
    assert current == presets_page.page(current), advice
    assert all(f"| `{name}` |" in current for name in PRESETS)
    with pytest.raises(ValueError, match="once"):
        presets_page.page("words")
