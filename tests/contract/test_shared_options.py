"""An option that components of a modality share is set once; fitting sees the attributes of its slots."""

from __future__ import annotations

import pytest

from ofa_kit import ClosedRegistry
from ofacore import Generalist, Task
from ofacore.ground.errors import UserError
from tests.contract import columns

ROWS = [{"c": [[float(i)] * 5, [1.0] * 5], "p": i % 4} for i in range(8)]
SIZES = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
MODEL = {"preprocessors": {"columns": {"columns": 5}}}


@pytest.fixture
def registry():
    return ClosedRegistry().register("ofa_kit.probe:MANIFEST", columns.MANIFEST)


def made(registry, line="[PROBE:p] -> [COLUMNS:c,unit=mV]", **model):
    return Generalist.create([Task("write", line, train=ROWS)], registry=registry, **SIZES, **model)


def test_it_reaches_every_component_and_is_loaded(registry, tmp_path):
    model = made(registry, **MODEL)
    assert (
        model.assembly.head_options("columns")
        == model.assembly.adapter_options("columns")
        == {"columns": 5}
    )
    model.fit(steps=2, samples=4, out=tmp_path / "run", precision="fp32")
    assert len(model.infer("write", {"p": 1}).values["c"][0]) == 5
    again = Generalist.from_pretrained(tmp_path / "run", registry=registry)
    assert again.assembly.criterion_options("columns") == {"columns": 5}
    assert len(again.infer("write", {"p": 1}).values["c"][0]) == 5


def test_what_is_set_for_one_component_goes_before(registry):
    assert made(registry, adapters={"columns": {"columns": 4}}, **MODEL).assembly.adapter_options(
        "columns"
    ) == {"columns": 4}


def test_two_values_for_one_component_are_refused(registry):
    line = "[PROBE:p] -> [COLUMNS:c] [COLUMNS:c,preprocess=columns_too]"
    message = "'columns' of adapter 'columns' is 5 by preprocessor 'columns' and 3 by preprocessor 'columns_too'"
    with pytest.raises(UserError, match=message):
        made(registry, line, **MODEL)


def test_fitting_sees_the_attributes_of_its_slots(registry):
    found = made(registry, **MODEL).assembly.artifacts["columns"].json("statistics.json")
    assert found["largest"] == pytest.approx(0.007)
