"""What the tests share: a bound preprocessor and short ways to make slots and contexts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ofa_modality_text.preprocessor import TextPreprocessor
from ofacore.protocols import Block, RowContext, SlotPlan, Vocabulary

CORPUS = [
    "a cat sits on the mat",
    "a dog runs on the grass",
    "the cat and the dog",
    "déjà vu, à côté",
    "日本語",
] * 4


def bound(values: list[Any] = CORPUS, **options: Any) -> TextPreprocessor:
    """A fitted preprocessor whose block does not stand first."""
    preprocessor = TextPreprocessor({"vocab_size": 400, **options})
    artifact = preprocessor.fit(values, np.random.default_rng(0))
    preprocessor.bind(
        Vocabulary().extend([Block("other", 50), *preprocessor.blocks(artifact)]), artifact
    )
    return preprocessor


@pytest.fixture(scope="session")
def text() -> TextPreprocessor:
    return bound()


@pytest.fixture
def slot() -> Callable[..., SlotPlan]:
    def make(side: str = "target", **attributes: Any) -> SlotPlan:
        loss = side == "target" and not attributes.get("no_loss")
        return SlotPlan("t", "TEXT", side, 0, "text", "token", attributes, loss=loss)

    return make


@pytest.fixture
def context() -> Callable[..., RowContext]:
    def make(split: str = "train", seed: int = 0, **closed_sets: Any) -> RowContext:
        return RowContext({}, "task", split, np.random.default_rng(seed), closed_sets=closed_sets)

    return make
