"""Rows of a foreign token table find their place by name, whatever the order, and come back."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_foreign.formats.tokens import (
    EXCLUDED,
    core_names,
    divided,
    excluded_bias,
    gathered,
    place_tokens,
)
from ofacore.ground.vocabulary import BOS, EOS, MASK, SEP

CORE = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = [f"w{number}" for number in range(6)]
BINS = [f"<bin_{number}>" for number in range(3)]
BLOCKS = {"words": [(word,) for word in WORDS], "bins": [*((name,) for name in BINS), ()]}


@settings(deadline=None, max_examples=50)
@given(st.permutations([*CORE, *WORDS, *BINS, "<code_1>", ""]))
def test_every_row_has_one_place(names: list[str]) -> None:
    placement = place_tokens(names, BLOCKS)
    ids = placement.ours()
    assert len(set(ids)) == len(names) and min(ids) >= 0
    assert (
        ids[names.index("<s>")] == BOS
        and ids[names.index("</s>")] == EOS
        and ids[names.index("<mask>")] == MASK
    )
    assert ids[names.index("w4")] == placement.vocabulary.offset("words") + 4
    assert (
        set(placement.unowned) == {"<code_1>", f"row {names.index('')}"} and not placement.missing
    )
    table = torch.arange(len(names) * 2.0).view(-1, 2)
    assert gathered(placement.vocabulary, ids, divided(placement, table)).equal(table)
    bias = excluded_bias(placement, table[:, 0])
    assert gathered(placement.vocabulary, ids, bias, ".bias").equal(table[:, 0])
    assert (
        bias["embedding.core.bias"][SEP] == EXCLUDED and bias["embedding.bins.bias"][3] == EXCLUDED
    )


def test_tokens_that_are_not_there_are_told() -> None:
    placement = place_tokens(
        ["<s>", *WORDS[:-1], "<bin>_00"],
        {**BLOCKS, "bins": [("<bin>_00", "<bin_0>"), ("<bin_1>",)]},
    )
    assert placement.missing == {"core": ("</s>",), "words": ("w5",), "bins": ("<bin_1>",)}


def test_a_configuration_names_core_tokens_by_their_rows() -> None:
    names = ["w0", "[BEGIN]", "</s>", "[END]", "<s>"]
    core = core_names(names, {"bos_token_id": 1, "eos_token_id": 3})
    ids = place_tokens(names, {"words": [("w0",)]}, core).ours()
    assert ids[1] == BOS and ids[3] == EOS and ids[4] >= 6
