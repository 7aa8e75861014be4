"""Searching with our model finds what the original found, token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ofacore.decoding.session import Session
from ofacore.parts import TokenGenerator
from ofacore.protocols import RowContext, RowRequest, SlotPlan, TargetSpec
from tests.parity.original import BLOCK, Case, Original, folder_of

SETTINGS = ("greedy", "greedy_min_len_8", "beam5", "beam5_no_repeat_3", "beam3_normalized_lenpen2")
CASES = [
    ("carried", "text_to_text"),
    ("text", "text_to_text"),
    ("patch", "text_to_text"),
    ("patch", "image_text_to_text"),
]


def options_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """The original's arguments in our terms; its scores are plain sums unless they are normalised."""
    return {
        "strategy": "beam",
        "beam": arguments["beam"],
        "n_best": arguments.get("return_n_best", 1),
        "max_length": arguments["max_len"],
        "min_length": arguments.get("min_len", 1),
        "no_repeat_ngram": arguments.get("no_repeat_ngram_size", 0),
        "length_penalty": arguments.get("lenpen", 1.0)
        if arguments.get("normalize_scores")
        else 0.0,
        "core_tokens": True,
        "pad_tokens": False,
    }


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("folder", "name"), CASES)
@torch.no_grad()
def test_the_same_tokens_and_scores(folder: str, name: str, setting: str) -> None:
    original = Original.read(folder_of(folder))
    case, built = Case(original, name), original.model()
    stored = original.json("generation.json")[name][setting]
    slot = SlotPlan("y", "TEXT", "target", 0, "", "token", head="token", loss=True)
    requests = [
        RowRequest(
            slot, RowContext({}, "t", "infer", np.random.default_rng(0)), TargetSpec((BLOCK,))
        )
        for _ in range(case.rows)
    ]
    session = Session(
        built, lambda adapter, shape: np.zeros((0, 3)), case.batch().source, case.rows
    )
    generator = TokenGenerator(options_of(stored["args"]))
    found = generator(session, requests, torch.Generator())
    for produced, wanted in zip(found, stored["hypotheses"], strict=True):
        assert len(produced) >= len(wanted)
        for ours, theirs in zip(produced, wanted, strict=False):
            expected = original.ours[torch.tensor(theirs["tokens"][:-1])].tolist()
            assert ours.value.tolist() == expected
            assert ours.score == pytest.approx(theirs["score"], abs=1e-4)
            assert ours.log_probs == pytest.approx(theirs["positional_scores"][:-1], abs=1e-4)
