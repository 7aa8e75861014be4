"""Tokens with coordinates of their own: in training, in generation, beside text, under both position schemes."""

from __future__ import annotations

import numpy as np
import pytest

from ofacore import Generalist, Task
from ofacore.evaluation.forced import reference_log_probs
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import Example
from tests.contract.codes import cells

SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
}
ROWS = [
    {
        "what": "head",
        "pre": "a",
        "img": ["ab", "cd", "ef"],
        "post": "b",
        "tags": "abc",
        "size": [3, 2],
    },
    {"what": "face", "pre": "ab", "img": ["abcd"], "post": "ccc", "tags": "hba", "size": [1, 4]},
    {"what": "babe", "pre": "gh", "img": ["h"], "post": "d", "tags": "aaa", "size": [1, 1]},
]
LINES = {
    "alone": "[WORD:what] -> [CODES:img]",
    "text around": "[WORD:what] -> so [WORD:pre] [CODES:img] then [WORD:post]",
    "before tags": "[WORD:what] -> [WORD:pre] [CODES:img] [TAGS:tags,length=3,no_loss] [WORD:post]",
    "given": "[WORD:what] -> [CODES:img,no_loss] [WORD:post]",
    "masked before": "[WORD:what] -> [WORD:pre] [HIDDEN:img,no_loss] [WORD:post]",
}


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "codes=tests.contract.codes:MANIFEST")
    return Registry.discover()


def made(registry: Registry, line: str, **model) -> Generalist:
    return Generalist.create(
        [Task("draw", line, train=ROWS)], registry=registry, **{**SIZES, **model}
    )


def encoded(model: Generalist, row: dict) -> Example:
    encoder = model.assembly.encoders["draw"]
    return encoder.encode(row, split="valid", rng=np.random.default_rng(0), row_id="0")


def agrees(model: Generalist, **options) -> None:
    """What was generated step by step has the log-probabilities that one pass over all of it gives."""
    encoder = model.assembly.encoders["draw"]
    outputs = model.infer(
        "draw", ROWS, **{"max_length": 5, "min_length": 1, "unk_penalty": 99.0, **options}
    )
    for row, output in zip(ROWS, outputs, strict=True):
        written = {**row, **output.values}
        for name, entry in output.fields.items():
            (found,) = reference_log_probs(model.model, encoder, [written], name)
            ((best, *_),) = entry.turns
            np.testing.assert_allclose(best.log_probs, found[: len(best.log_probs)], atol=2e-5)
            assert best.log_prob == pytest.approx(sum(found[: best.tokens]), abs=1e-4)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_decoding_step_by_step_equals_one_pass(plugged, line):
    agrees(made(plugged, line))


@pytest.mark.parametrize(
    "options", [{"strategy": "beam", "beam": 3}, {"strategy": "sample", "seed": 3}], ids=str
)
def test_every_search_takes_the_same_places(plugged, options):
    agrees(made(plugged, LINES["text around"]), **options)


@pytest.mark.parametrize("start", ["eos", "eos bos"])
def test_other_beginnings_of_a_run_stand_before_the_first_cell(plugged, start):
    for line in ("alone", "text around"):
        agrees(made(plugged, LINES[line], target_start=start))


def test_places_matter_to_the_model(plugged):
    row, other = ROWS[0], {**ROWS[0], "img": ["abc", "def"]}
    model = made(plugged, LINES["alone"])
    encoder = model.assembly.encoders["draw"]
    model.model.eval()
    first, second = reference_log_probs(model.model, encoder, [row, other], "img")
    assert first[0] == pytest.approx(second[0], abs=1e-6)
    assert not np.allclose(first, second, atol=1e-4)


def test_they_count_from_where_the_run_stands_and_what_follows_goes_on_behind(plugged):
    model = made(plugged, "[WORD:what] [CODES:img] [WORD:pre] -> [CODES:img] [WORD:post]")
    example = encoded(model, ROWS[0])
    words, picture, tail = example.source[0]
    start = words.length
    assert (picture.coordinates == cells(3, 2) + start).all()
    assert (tail.coordinates[0] == start + 3).all()
    picture, tail = example.target
    assert (picture.coordinates == cells(3, 2)).all()
    assert (tail.coordinates[0] == 3).all()


def test_an_adapter_with_a_grid_serves_codes_where_positions_have_tables(monkeypatch, plugged):
    with pytest.raises(
        PluginError, match="adapter 'token' says axes = 1.*name an adapter with a grid"
    ):
        encoded(made(plugged, LINES["alone"], positions="untied"), ROWS[0])
    agrees(
        made(
            plugged,
            "[WORD:what] -> [WORD:pre] [CODES:img,adapter=cells] [WORD:post]",
            positions="untied",
        )
    )
    agrees(made(plugged, "[WORD:what] -> [WORD:pre] [CODES:img,adapter=cells] [WORD:post]"))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda where: where[:-1], r"its 6 tokens have coordinates of int64 of shape \(5, 3\)"),
        (lambda where: where - 1, "a coordinate of its tokens is -1; they count from 0"),
        (lambda where: where * 0.5, r".*float64 of shape \(6, 3\); expected int64"),
    ],
    ids=["number", "negative", "fractions"],
)
def test_coordinates_that_are_none_are_told_with_their_plugin(plugged, monkeypatch, wrong, told):
    model = made(plugged, LINES["alone"])
    monkeypatch.setattr(
        "tests.contract.codes.cells", lambda rows, columns: wrong(cells(rows, columns))
    )
    with pytest.raises(
        PluginError, match=f"preprocessor 'codes' of plugin 'codes'.*slot 'img': {told}"
    ):
        encoded(model, ROWS[0])
    with pytest.raises(PluginError, match=f"slot 'img': {told}"):
        model.infer("draw", ROWS[:1])
