"""Tokens that are predicted where they stand, and dense segments whose labels are tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofa_kit import ModalityConformance
from ofacore import Generalist, Task
from ofacore.evaluation.forced import reference_log_probs
from ofacore.ground.errors import UserError
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import RowError
from tests.contract import codes

SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
WORDS = ("abc", "bcd", "cab", "dda", "hef", "fgh", "ghe", "efe")
ROWS = [{"word": word, "img": [word[:2], word[1:]], "tags": word[::-1]} for word in WORDS]
EVEN = [{"word": word, "img": [word[0] * 2] * 2, "tags": word[0] * 3} for word in WORDS]
"""Which token stands where is soon learned."""


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv(
        "OFA_PLUGIN_DEV", "codes=tests.contract.codes:MANIFEST,lossy=tests.contract.lossy:MANIFEST"
    )
    return Registry.discover()


def made(registry: Registry, line: str, rows: list[dict] = ROWS, **task) -> Generalist:
    tasks = [Task("do", line, train=rows, **task)]
    return Generalist.create(tasks, registry=registry, dropout=0.0, **SIZES)


def trained(model: Generalist, folder: Path, steps: int) -> list[dict]:
    model.fit(steps=steps, samples=8, out=folder, precision="fp32", log_every=10)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def share_right(model: Generalist, column: str, rows: list[dict] = ROWS) -> float:
    answers = model.infer("do", [{"word": row["word"]} for row in rows])
    return np.mean(
        [answer[column] == row[column] for answer, row in zip(answers, rows, strict=True)]
    )


def test_masked_codes_are_learned_and_filled_in(plugged, tmp_path):
    model = made(plugged, "[WORD:word] -> [HIDDEN:img]", EVEN)
    trained(model, tmp_path / "run", 60)
    assert share_right(model, "img", EVEN) > 0.8


def test_masks_are_filled_in_as_one_pass_over_them_says(plugged, monkeypatch):
    model = made(plugged, "[WORD:word] -> the [HIDDEN:img]")
    encoder = model.assembly.encoders["do"]
    looked = []
    monkeypatch.setattr(codes.Unmask, "looked", looked.append, raising=False)
    answers = model.infer("do", [{"word": row["word"]} for row in ROWS])
    encoder.corruptions["mask"].share = 1.0
    written = [{**row, "img": answer["img"]} for row, answer in zip(ROWS, answers, strict=True)]
    best = looked[0].view(len(ROWS), -1)
    for row, found in zip(written, best, strict=True):
        (logs,) = reference_log_probs(model.model, encoder, [row], "img")
        assert max(logs) == pytest.approx(float(found.max()), abs=1e-5)


def test_masked_text_is_learned_where_it_is_hidden_and_filled_in(plugged, tmp_path):
    line = "[WORD:word] -> [TEXT:tags,level=character,length=3,corruption=mask,generator=unmask]"
    model = made(plugged, line, EVEN)
    trained(model, tmp_path / "run", 90)
    assert share_right(model, "tags", EVEN) > 0.6


def test_masked_tokens_count_where_they_are_hidden_alone(plugged):
    model = made(plugged, "[WORD:word] -> [HIDDEN:img] then [WORD:tags]")
    encoder = model.assembly.encoders["do"]
    example = encoder.encode(ROWS[0], split="train", rng=np.random.default_rng(3), row_id="0")
    masked, clean = [piece for piece in example.target if piece.slot.name == "img"]
    hidden = masked.features["tokens"] == 5
    (item,) = [term for term in example.terms if term.term == "do/img"]
    assert 0 < hidden.sum() < 4
    assert item.count == hidden.sum()
    assert (item.labels["ids"] == clean.features["tokens"][hidden]).all()
    assert (masked.visible, clean.visible, masked.causal) == (False, True, False)
    assert (masked.coordinates == clean.coordinates).all()


def test_a_search_from_left_to_right_refuses_what_is_predicted_in_place(plugged):
    model = made(plugged, "[WORD:word] -> [HIDDEN:img,generator=token]")
    with pytest.raises(
        UserError,
        match="slot 'img': its tokens are predicted at their own places.*another generator",
    ):
        model.infer("do", ROWS[0])


def test_a_corruption_that_gives_no_segment_is_told_with_its_plugin(plugged, monkeypatch):
    monkeypatch.setattr(codes.Mask, "__call__", lambda self, segment, rng: segment.ids)
    model = made(plugged, "[WORD:word] -> [HIDDEN:img]")
    with pytest.raises(
        PluginError, match="corruption 'mask' of plugin 'codes'.*slot 'img': gives a ndarray"
    ):
        model.assembly.encoders["do"].encode(
            ROWS[0], split="train", rng=np.random.default_rng(0), row_id="0"
        )


def test_a_dense_segment_is_told_apart_position_by_position(plugged, tmp_path):
    model = made(plugged, "[WORD:word] -> [TAGS:tags,length=3]")
    records = trained(model, tmp_path / "run", 120)
    assert records[0]["train/do/tags"] > 1.5
    assert share_right(model, "tags") > 0.8
    again = Generalist.from_pretrained(tmp_path / "run", registry=plugged)
    assert share_right(again, "tags") > 0.8
    answer = again.infer("do", {"word": "abc"})
    assert answer.log_prob == pytest.approx(
        float(answer.fields["tags"].turns[0][0].log_probs.sum()), abs=1e-5
    )


def test_tags_have_their_blocks_where_another_slot_learns_them(plugged):
    losses = [
        {"criterion": "cross_entropy", "hidden": "tags"},
        {"criterion": "bag", "hidden": "word", "labels": "tags", "head": "mean"},
    ]
    model = made(plugged, "[WORD:word] -> [TAGS:tags,length=3]", losses=losses)
    encoder = model.assembly.encoders["do"]
    example = encoder.encode(ROWS[0], split="train", rng=np.random.default_rng(0), row_id="0")
    assert {item.criterion: item.blocks for item in example.terms} == {
        "cross_entropy": ("codes/tags",),
        "bag": ("codes/tags",),
    }


def test_one_shot_says_that_it_cannot_show_tags_to_what_follows(plugged):
    model = made(plugged, "[WORD:word] -> [TAGS:tags,length=3] [WORD:word]")
    with pytest.raises(
        UserError, match="slot 'tags': generator one_shot cannot show tokens.*put it last"
    ):
        model.infer("do", ROWS[0])


def test_a_repeat_cannot_begin_with_what_is_predicted_in_place(plugged):
    rows = [{"word": "a", "tags": ["abc", "abd"]}]
    model = Generalist.create(
        [Task("do", "[WORD:word] -> ([TAGS:tags,length=3])*", train=rows)], registry=plugged
    )
    with pytest.raises(RowError, match="must begin with text or a slot of tokens"):
        model.assembly.encoders["do"].encode(
            rows[0], split="train", rng=np.random.default_rng(0), row_id="0"
        )


class Suite(ModalityConformance):
    plugin = codes.MANIFEST
    slot = "HIDDEN"
    values = (["ab", "cd"], ["ef", "gh"], ["aa", "ab"])


def suite(manifest, **settings) -> ModalityConformance:
    return type("Suite", (Suite,), {"plugin": manifest, **settings})()


@pytest.mark.parametrize("slot", ["HIDDEN", "CODES", "TAGS"])
def test_the_kit_takes_the_plugin(slot):
    values = ("abc", "bcd", "hhh") if slot == "TAGS" else Suite.values
    kit = suite(codes.MANIFEST, slot=slot, values=values)
    bench = kit.bench()
    kit.test_round_trip(bench)
    kit.test_references_look_like_answers(bench)
    kit.test_expected_targets_are_those_that_are_learned(bench)
    kit.test_batches_do_not_change_losses(bench)
    if slot == "HIDDEN":
        kit.test_corruption_leaves_the_clean_segment(bench)


@pytest.mark.parametrize(
    ("corruption", "told"),
    [
        (codes.MaskInPlace, "changed what it was given: .*copy arrays"),
        (codes.MaskByClock, "made two things of one segment .*Draw all random numbers from rng"),
    ],
)
def test_the_kit_finds_a_corruption_that_spoils_or_gambles(corruption, told):
    kit = suite(codes.manifest(corruption=corruption))
    with pytest.raises(AssertionError, match=f"(?s){told}"):
        kit.test_corruption_leaves_the_clean_segment(kit.bench())


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("TAGS", {"shift": True}, r"TargetSpec.shift is True, but what is learned has shift=False"),
        (
            "TAGS",
            {"blocks": ()},
            r"labels come from the blocks \['codes/tags'\], TargetSpec.blocks are \[\]",
        ),
        ("CODES", {"coordinates": None}, "the segment alone has coordinates"),
        ("CODES", {"coordinates": codes.cells(4, 1)}, "coordinates of the segment"),
    ],
)
def test_the_kit_finds_an_expectation_that_is_not_what_is_learned(monkeypatch, name, change, told):
    values = ("abc", "bcd", "hhh") if name == "TAGS" else Suite.values
    kit = suite(codes.MANIFEST, slot=name, values=values)
    bench = kit.bench()
    changed = codes.changing({"TAGS": codes.Tags, "CODES": codes.Codes}[name], change)
    monkeypatch.setattr(type(bench.preprocessor), "expect", changed)
    with pytest.raises(AssertionError, match=f"expect and encode do not agree.*{told}"):
        kit.test_expected_targets_are_those_that_are_learned(bench)
