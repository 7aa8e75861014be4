"""Classes as single tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ofa_modality_text.category import CategoryPreprocessor
from ofacore import Generalist, Task
from ofacore.plugin import PluginError
from ofacore.protocols import Artifact, Block, Hypothesis, RowError, Vocabulary

VALUES = ["big dog", "cat", "big dog", 3]


def bound(**options: object) -> CategoryPreprocessor:
    built = CategoryPreprocessor(options)
    artifact = built.fit(VALUES, np.random.default_rng(0))
    built.bind(Vocabulary().extend([Block("other", 5), *built.blocks(artifact)]), artifact)
    return built


def test_each_class_is_one_token_and_comes_back(slot, context):
    category = bound()
    for value in VALUES:
        (segment,) = category.encode(value, slot(), context())
        assert len(segment.ids) == 1
        assert not segment.open
        assert category.decode(Hypothesis(segment.ids), slot(), context()) == str(value)
    members = category.expect(slot(), context()).closed_set
    assert sorted(int(ids[0]) for ids in members) == [11, 12, 13]


def test_classes_may_be_given_in_an_order_of_their_own(slot, context):
    category = bound(classes=["zebra", "cat"])
    assert int(category.encode("zebra", slot(), context())[0].ids[0]) == 11
    with pytest.raises(
        RowError, match="column 't': 'catt' is none of 2 classes; did you mean 'cat'"
    ):
        category.encode("catt", slot(), context())


def test_a_closed_set_narrows_the_classes(slot, context):
    found = bound().expect(slot(closed_set=True), context(t=("cat",))).closed_set
    assert [ids.tolist() for ids in found] == [[13]]


def test_without_values_there_are_no_classes():
    with pytest.raises(PluginError, match="set its option classes"):
        CategoryPreprocessor({}).fit([], np.random.default_rng(0))


def test_a_slot_is_offered_the_classes_that_it_showed(slot, context):
    kind, size = replace(slot(), name="kind"), replace(slot(), name="size")
    category = CategoryPreprocessor({})
    values = [(kind, "dog"), (size, "big"), (kind, "cat"), (size, 3)]
    artifact = category.fit_slots(values, np.random.default_rng(0))
    category.bind(Vocabulary().extend(category.blocks(artifact)), artifact)
    assert names(category, kind, context()) == ["cat", "dog"]
    assert names(category, size, context()) == ["3", "big"]
    assert names(category, replace(slot(), name="new"), context()) == ["3", "big", "cat", "dog"]


def names(category, of, ctx):
    members = category.expect(of, ctx).closed_set
    return [category.decode(Hypothesis(ids), of, ctx) for ids in members]


def test_classes_stored_by_earlier_versions_are_read(slot, context):
    artifact = Artifact.of_json("classes.json", ["cat", "dog"])
    category = CategoryPreprocessor({})
    category.bind(Vocabulary().extend(category.blocks(artifact)), artifact)
    assert names(category, slot(), context()) == ["cat", "dog"]


def test_a_line_with_categories_learns_and_answers_with_a_class(tmp_path):
    rows = [{"text": f"{size} {kind}", "kind": kind} for size in "abc" for kind in ("cat", "dog")]
    task = Task("name", "[TEXT:text] what is it? -> [CATEGORY:kind]", train=rows)
    sizes = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    model = Generalist.create([task], **sizes)
    model.fit(steps=60, samples=6, out=tmp_path / "run", optimizer={"lr": 1e-2})
    answers = [model.infer("name", {"text": row["text"]}).text for row in rows]
    assert answers == [row["kind"] for row in rows]
