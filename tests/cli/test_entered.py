"""Texts of ``--data`` become what their slot types make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofacore import Generalist, Task
from tests.contract import gauges

PLUGIN = "gauges=tests.contract.gauges:MANIFEST"
SIZES = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A saved model."""
    monkeypatch.setenv("OFA_PLUGIN_DEV", PLUGIN)
    rows = gauges.rows()["train"]
    model = Generalist.create([Task("level", gauges.LINE, train=rows)], **SIZES)
    return str(model.save(tmp_path / "model"))


def test_infer_and_predict_parse_what_was_entered(ofa, folder: str) -> None:
    asked = ("level", "--data", "span=0 to 2", "--json")
    answer = json.loads(ofa("infer", folder, *asked).stdout)["values"]["level"]
    expected = Generalist.from_pretrained(folder).infer("level", {"span": [0.0, 2.0]})
    assert answer == pytest.approx(expected["level"], abs=1e-5)
    Path(folder, "rows.jsonl").write_text('{"note": 1}\n')
    rows = ("level", str(Path(folder, "rows.jsonl")), "--data", "span=0 to 2")
    (line,) = ofa("predict", folder, *rows).stdout.splitlines()
    assert json.loads(line)["values"]["level"] == pytest.approx(answer, abs=1e-5)
    done = ofa("infer", folder, "level", "--data", "span=wide", code=2)
    assert (
        "[SPAN:span]: could not convert string to float: 'wide'; it takes [low, high]"
        in done.stderr
    )
