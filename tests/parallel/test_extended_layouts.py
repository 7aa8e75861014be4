"""Tasks that join a model change nothing for the old ones before the first step, under every layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.generalist.growing import JOINING, ROWS, made
from tests.parallel.launching import launch

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in ``old``, what is new in ``own.yaml``, and what every rank found."""
    place = tmp_path_factory.mktemp("extended")
    made().save(place / "old")
    rows = [{key: row[key] for key in ("a", "kind")} for row in ROWS]
    (place / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    task = {"instruction": JOINING["sort"], "data": {"train": str(place / "rows.jsonl")}}
    (place / "own.yaml").write_text(json.dumps({"tasks": {"sort": task}}))
    done = launch("tests.parallel.extend_cases", 2, str(place), "tensor", "pipeline", timeout=240)
    assert not any(code for code, _ in done), "\n".join(said[-3000:] for _, said in done)
    return place


@pytest.mark.parametrize("name", ["tensor", "pipeline"])
def test_old_tasks_say_the_same_bit_for_bit(folder: Path, name: str) -> None:
    for rank in range(2):
        found = json.loads((folder / f"{name}.{rank}.json").read_text())
        assert found.pop("new blocks") == 4
        assert all(found.values()), found
