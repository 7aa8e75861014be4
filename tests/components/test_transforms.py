"""Transforms of raw columns: declared functions that any task may name."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.components import transforms as t


@pytest.mark.parametrize("component", t.TRANSFORMS, ids=lambda component: component.name)
def test_every_declared_transform_exists_and_takes_its_options(component):
    module, _, name = component.target.partition(":")
    function = getattr(importlib.import_module(module), name)
    function('"a b"', **component.options)


def test_references():
    assert t.split_references("a cat&&the cat") == ["a cat", "the cat"]
    assert t.first_reference("a cat&&the cat") == "a cat"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    )
)
def test_what_is_nested_becomes_json_and_comes_back(value):
    written = t.to_json(value)
    if isinstance(value, list | dict):
        assert isinstance(written, str) and t.from_json(written) == value
    if value is None or isinstance(value, str):
        assert written == value


@given(st.text(alphabet=st.characters(exclude_characters="_")))
def test_spacing_can_be_undone(text):
    assert t.unspaced(t.spaced(text)) == text


@pytest.mark.parametrize(
    "name",
    [
        "lower",
        "strip_punctuation",
        "join_blanks",
        "truncate_words",
        "replace_underscores",
        "split_references",
        "first_reference",
    ],
)
@given(value=st.text())
def test_applying_twice_changes_nothing(name, value):
    function = getattr(t, name)
    assert function(function(value)) == function(value)
