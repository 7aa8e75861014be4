"""What is written as JSON is JSON, for every reader."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.components.trackers import Jsonl
from ofacore.ground.json_text import NotJsonError, json_text
from ofacore.protocols import Record

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def strict(text: str) -> object:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@given(VALUES)
def test_any_value_is_strict_json_and_finite_ones_come_back(value: object) -> None:
    found = strict(json_text(value))
    try:
        assert strict(json_text(value, lossless=True)) == found == value
    except NotJsonError:
        assert "null" in json_text(value)


def test_numbers_of_numpy_are_plain() -> None:
    value = {
        "a": np.float32(0.5),
        "b": np.array([[1, 2]]),
        "c": (np.int64(3), np.nan),
        4: np.array([np.inf, 1.0]),
    }
    assert strict(json_text(value)) == {"a": 0.5, "b": [[1, 2]], "c": [3, None], "4": [None, 1.0]}


def test_what_would_get_lost_is_named_by_its_path() -> None:
    with pytest.raises(
        NotJsonError, match=r"config\.b\.1: a number that is not finite cannot be stored as JSON"
    ):
        json_text({"config": {"a": 1, "b": [0.0, float("nan")]}}, lossless=True)
    with pytest.raises(NotJsonError, match="a: a Path|a: a PosixPath"):
        json_text({"a": Path("x")}, lossless=True)


def test_metrics_that_are_not_finite_are_null(tmp_path: Path) -> None:
    tracker = Jsonl(tmp_path)
    tracker.log(
        Record(
            1,
            {"valid/t/perplexity": float("inf"), "train/t/loss": float("nan"), "x": np.float32(1)},
        )
    )
    tracker.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert strict(line) == {"step": 1, "valid/t/perplexity": None, "train/t/loss": None, "x": 1.0}


def test_files_and_output_go_through_the_one_writer() -> None:
    """Digests, messages and what another process is told at once may use json directly."""
    allowed = {
        "ofacore/ground/json_text.py",
        "ofacore/ground/json_files.py",
        "ofacore/plan/types.py",
        "tools/docs/configuration_page.py",
        "ofacore/config/validation.py",
        "ofacore/setup/assembly.py",
        "ofacore/parallel/agreement.py",
        "ofacore/plugin/registry.py",
        "ofacore/plugin/trial.py",
        "ofacore/setup/origins.py",
        "plugins/tool_kit/ofa_kit/checks/running.py",
        "plugins/tool_starter/ofa_starter/preparing.py",
        "plugins/tool_starter/ofa_starter/fetching.py",
    }
    root = Path(__file__).parents[2]
    files = [path for room in ("ofacore", "cli") for path in (root / room).rglob("*.py")]
    found = {
        str(p.relative_to(root))
        for p in files
        if re.search(r"\bjson\.dumps?\(", p.read_text(encoding="utf-8"))
    }
    assert found <= allowed
