"""The base of modalities of named tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.parts import TokensPreprocessor
from ofacore.plugin import PluginError
from ofacore.protocols import Block, Hypothesis, RowContext, RowError, SlotPlan, Vocabulary

CONTEXT = RowContext({}, "task", "train", np.random.default_rng(0))


class Bases(TokensPreprocessor):
    block = "dna/bases"
    tokens = ("A", "C", "G", "T")

    def to_tokens(self, value):
        return list(value)

    def from_tokens(self, tokens):
        return "".join(tokens)


class Words(TokensPreprocessor):
    block = "words/words"


def bound(cls, values=()):
    """A preprocessor as a model has it, behind a block of another."""
    made = cls({})
    artifact = made.fit(values, np.random.default_rng(0))
    made.bind(Vocabulary().extend([Block("other", 7), *made.blocks(artifact)]), artifact)
    return made


def slot(side="target", loss=True, **attributes):
    return SlotPlan("s", "DNA", side, 0, "dna", "token", attributes, "token", loss=loss)


@given(st.text("ACGT", max_size=20))
def test_a_value_comes_back(value):
    made = bound(Bases)
    (segment,) = made.encode(value, slot(), CONTEXT)
    assert (
        segment.open and len(segment.ids) == len(value) and set(segment.ids) <= set(range(13, 17))
    )
    assert made.decode(Hypothesis(segment.ids), slot(), CONTEXT) == value


def test_tokens_that_are_not_listed_are_learned_and_stored():
    made = bound(Words, ["b a", 7, "c"])
    (segment,) = made.encode("c a", slot(), CONTEXT)
    assert (
        segment.ids.tolist() == [15, 13]
        and made.decode(Hypothesis(segment.ids), slot(), CONTEXT) == "c a"
    )


def test_other_tokens_make_another_block():
    class Rna(Bases):
        tokens = ("A", "C", "G", "U")

    assert Rna({}).blocks(None) != Bases({}).blocks(None) == Bases({}).blocks(None)


def test_a_length_is_kept():
    made = bound(Bases)
    (segment,) = made.encode("AC", slot(length=2), CONTEXT)
    assert not segment.open and made.expect(slot(length=2), CONTEXT).length == 2
    with pytest.raises(RowError, match="column 's': 3 tokens, but the slot says length=2"):
        made.encode("ACG", slot(length=2), CONTEXT)


def test_a_given_target_is_not_learned():
    made = bound(Bases)
    assert not any(made.encode("AC", slot(loss=False), CONTEXT)[0].weights)
    assert made.encode("AC", slot("source", loss=False), CONTEXT)[0].weights is None


def test_foreign_tokens_are_passed_over():
    assert bound(Bases).decode(Hypothesis(np.array([2, 8, 13, 99, 16])), slot(), CONTEXT) == "AT"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("ACX", "'X' is no token of 'dna/bases'; there are 'A', 'C'"),
        (7, "7 is no sequence"),
        ([1], "whose tokens are"),
    ],
)
def test_a_bad_value_names_the_column(value, said):
    with pytest.raises(RowError, match=f"column 's': .*{said}"):
        bound(Bases).encode(value, slot(), CONTEXT)


def test_an_unknown_token_has_a_near_one():
    with pytest.raises(RowError, match="did you mean 'castle'"):
        bound(Words, ["castle check"]).encode("castel", slot(), CONTEXT)


def test_faults_of_a_plugin_are_told():
    with pytest.raises(
        PluginError, match=r"TokensPreprocessor names no vocabulary block; write block = "
    ):
        TokensPreprocessor({})
    with pytest.raises(PluginError, match="no training value to learn those of 'words/words' from"):
        Words({}).fit([7], np.random.default_rng(0))
