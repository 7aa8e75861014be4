"""A preprocessor reaches others by name: their tokens are fitted, stored and loaded with it, in any process."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ofa_kit import ClosedRegistry
from ofacore import Generalist, Task
from ofacore.ground.errors import UserError
from ofacore.plan import PlanError, compile_instruction
from ofacore.plugin import Component, Registry
from ofacore.protocols import RowContext
from tests.contract import tables

TEXT = "ofa_modality_text.manifest:MANIFEST"
WORDS = ["red", "green", "blue", "cat", "dog"]
ROWS = [
    {"t": [[x, y], [y, x]], "label": i % 4}
    for i, (x, y) in enumerate((x, y) for x in WORDS for y in WORDS)
]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
PROBE = "ofa_kit.probe:MANIFEST"


def registry(*manifests) -> Registry:
    return ClosedRegistry().register(TEXT, PROBE, *manifests)


def test_a_table_alone_is_trained_stored_and_answered_by_the_tokens_of_text(monkeypatch, tmp_path):
    monkeypatch.setenv(
        "OFA_PLUGIN_DEV", "tables=tests.contract.tables:MANIFEST,probe=ofa_kit.probe:MANIFEST"
    )
    found = Registry.discover()
    task = Task("write", "[PROBE:label] -> [TABLE:t]", train=ROWS)
    model = Generalist.create([task], registry=found, **SIZES)
    (block,) = [
        block for block in model.assembly.vocabulary.blocks if block.name.startswith("text/")
    ]
    table = model.assembly.preprocessor("table")
    slot = compile_instruction("[PROBE:label] -> [TABLE:t]", found).named("t")
    ctx = RowContext({}, "write", "test", np.random.default_rng(0))
    assert len(table.text.tokens("green", slot, ctx)) == 1, (
        "text was fitted on the words of the tables"
    )
    model.fit(steps=4, samples=8, out=tmp_path / "run", precision="fp32")
    sent = pickle.loads(pickle.dumps(model.assembly.encoders["write"]))
    given = dict(split="train", row_id="0", rng=np.random.default_rng(0))
    first, second = (
        encoder.encode(ROWS[0], **given) for encoder in (model.assembly.encoders["write"], sent)
    )
    assert np.array_equal(first.terms[0].labels["ids"], second.terms[0].labels["ids"])
    again = Generalist.from_pretrained(tmp_path / "run", registry=found)
    assert block in again.assembly.vocabulary.blocks
    row = {"label": 1}
    assert again.infer("write", row).values == model.infer("write", row).values


def test_a_ring_is_named():
    other = Component(
        "preprocessor",
        "loop",
        "tests.contract.tables:TablePreprocessor",
        uses=tables.USES,
        builds_on=("table",),
    )
    with pytest.raises(PlanError, match="in a ring: table -> loop -> table"):
        compile_instruction(
            "[TABLE:t] -> [PROBE:label]",
            registry(tables.manifest(builds_on=("loop",), more=(other,))),
        )


def test_what_is_not_installed_is_named_with_its_package():
    alone = ClosedRegistry().register(PROBE, tables.MANIFEST)
    message = "'table' of plugin 'tables' .* builds on the preprocessor 'text', .* pip install ofa-modality-text"
    with pytest.raises(PlanError, match=message):
        compile_instruction("[TABLE:t] -> [PROBE:label]", alone)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            {"target": "Undeclared"},
            "preprocessor 'table' .* reaches the preprocessor 'category' without naming it.*builds_on=",
        ),
        ({"target": "Deaf"}, "names builds_on=.* has no bind_with"),
        ({"builds_on": ()}, "has bind_with, but its Component names nothing in builds_on"),
    ],
)
def test_declaration_and_class_agree(variant, message):
    task = Task("read", "[TABLE:t] -> [PROBE:label]", train=ROWS)
    with pytest.raises(UserError, match=message):
        Generalist.create([task], registry=registry(tables.manifest(**variant)), **SIZES)
