"""Transforms of columns that this family announces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ofa_task_vision.transforms import TRANSFORMS, caption_text, vqa_answers, vqa_best_answer
from ofacore.plugin import Registry


def test_they_are_found_by_name():
    functions = {
        component.name: Registry.discover().load("transform", component.name)
        for component in TRANSFORMS
    }
    assert functions == {
        "caption_text": caption_text,
        "vqa_answers": vqa_answers,
        "vqa_best_answer": vqa_best_answer,
    }


def test_vqa_answers():
    assert vqa_answers("0.3|!+no&&1.0|!+yes") == {"no": 0.3, "yes": 1.0}
    assert vqa_best_answer("0.3|!+no&&1.0|!+yes") == "yes"
    assert vqa_best_answer("plain & simple") == "plain & simple"


def test_captions_lose_punctuation_and_case():
    assert caption_text("A well-known <person>, smiling!") == "a well known person smiling"
    assert caption_text("one two three", words=2) == "one two"


@given(st.text())
def test_cleaning_a_caption_twice_changes_nothing(value):
    assert caption_text(caption_text(value)) == caption_text(value)
