"""Scores on some of the rows: which, and beside which predictions of the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore import Generalist, Task
from ofacore.evaluation.runner import _baselines, evaluate_task
from ofacore.ground.errors import UserError
from ofacore.setup.datasets import TaskRows, readable, spread
from ofacore.sources.jsonl import JsonLinesSource

WORDS = ("no", "yes")


@given(rows=st.integers(0, 500), most=st.integers(0, 60))
def test_numbers_are_spread_over_all_rows(rows: int, most: int) -> None:
    found = spread(rows, most)
    assert len(found) == len(set(found)) == (min(rows, most) if most else rows)
    stretch = rows / max(1, len(found))
    for place, number in enumerate(found):
        assert place * stretch - 1 <= number < (place + 1) * stretch


def test_rows_that_take_turns_are_met_alike() -> None:
    found = spread(600, 300)
    assert 100 < sum(number % 2 for number in found) < 200


def lines(folder: Path) -> JsonLinesSource:
    """Rows sorted by label; the fourth cannot be read."""
    path = folder / "rows.jsonl"
    rows = [f'{{"a": "{n}", "label": "{WORDS[n >= 20]}"}}' for n in range(40)]
    rows[3] = '{"a": '
    path.write_text("\n".join(rows) + "\n")
    return JsonLinesSource(path)


def echo(splits: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A baseline that is always right: whatever it is beside, it must be of the same row."""
    return [{"label": row["label"]} for row in splits["test"]]


@pytest.mark.parametrize("limit", [None, 10, 3])
def test_a_limit_takes_rows_from_everywhere_beside_their_baseline(
    tmp_path: Path, limit: int | None
) -> None:
    source = lines(tmp_path)
    task = Task(
        "so",
        "is it so? [TEXT:a] -> [TEXT:label,closed_set]",
        train=[{"a": "1", "label": "yes"}],
        closed_sets={"label": list(WORDS)},
        metrics=[{"metric": "accuracy", "slot": "label"}],
    )
    model = Generalist.create(
        [task], preset="tiny", hidden=32, ffn=64, heads=2, encoder_layers=1, decoder_layers=1
    )
    data = TaskRows({"test": source}, echo, "itself")
    found = evaluate_task(model, model.plan("so"), data, "test", limit, True, {})
    rows = [row for _, row in readable(source, limit)]
    read = [row for row in rows if isinstance(row, dict)]
    assert {row["label"] for row in read} == set(WORDS)
    (row,) = found.scores
    assert row.samples == len(read) and row.baseline == 1.0
    assert len(found.problems) == len(rows) - len(read)


def test_a_baseline_of_another_length_is_told(tmp_path: Path) -> None:
    data = TaskRows({"test": lines(tmp_path)}, lambda splits: echo(splits)[:-1], "all but one")
    with pytest.raises(UserError, match="'all but one' gives 38 predictions for 39 rows"):
        _baselines(data, data.splits["test"], [0])
