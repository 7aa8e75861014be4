"""Classes as single tokens."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_modality_text.category import CategoryPreprocessor
from ofacore.plugin import PluginError
from ofacore.protocols import Block, Hypothesis, RowError, Vocabulary

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
