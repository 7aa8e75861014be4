"""Transforms of raw columns: what the original tasks did to their columns, as declared functions."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.data import transforms as t


@pytest.mark.parametrize("component", t.TRANSFORMS, ids=lambda component: component.name)
def test_every_declared_transform_exists_and_takes_its_options(component):
    module, _, name = component.target.partition(":")
    function = getattr(importlib.import_module(module), name)
    given_value = {"vqa_answers": "1.0|!+a", "vqa_best_answer": "1.0|!+a", "detection_boxes": "1,2,3,4,7,cat",
                   "detection_names": "1,2,3,4,7,cat"}.get(component.name, "a b")  # fmt: skip
    function(given_value, **component.options)


def test_vqa_answers():
    assert t.vqa_answers("0.3|!+no&&1.0|!+yes") == {"no": 0.3, "yes": 1.0}
    assert t.vqa_best_answer("0.3|!+no&&1.0|!+yes") == "yes"
    assert t.vqa_best_answer("plain & simple") == "plain & simple"


def test_references():
    assert t.split_references("a cat&&the cat") == ["a cat", "the cat"]
    assert t.first_reference("a cat&&the cat") == "a cat"


def test_detection_labels_keep_commas_in_names():
    label = "1,2,3,4,7,cat&&5,6,7,8.5,9,car, big"
    assert t.detection_boxes(label) == [[1, 2, 3, 4], [5, 6, 7, 8.5]]
    assert t.detection_names(label) == ["cat", "car, big"]


def test_captions_lose_punctuation_and_case():
    assert t.caption_text("A well-known <person>, smiling!") == "a well known person smiling"
    assert t.caption_text("one two three", words=2) == "one two"


@given(st.text(alphabet=st.characters(exclude_characters="_")))
def test_spacing_can_be_undone(text):
    assert t.unspaced(t.spaced(text)) == text


@pytest.mark.parametrize("name", ["lower", "strip_punctuation", "join_blanks", "truncate_words", "replace_underscores",
                                  "split_references", "first_reference", "caption_text"])  # fmt: skip
@given(value=st.text())
def test_applying_twice_changes_nothing(name, value):
    function = getattr(t, name)
    assert function(function(value)) == function(value)
