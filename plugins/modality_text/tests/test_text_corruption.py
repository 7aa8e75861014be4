"""Masked spans and noised decoder inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_modality_text.corruption import mask_spans, replace_random
from ofacore.protocols import MASK

from .conftest import CORPUS, bound


@given(
    n=st.integers(0, 60),
    ratio=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    replace=st.sampled_from([-1, 0, 1]),
)
def test_what_is_not_masked_keeps_its_order(n, ratio, seed, replace):
    ids = np.arange(100, 100 + n)
    masked = mask_spans(ids, ratio, np.random.default_rng(seed), mask=MASK, replace_length=replace)
    kept = masked[masked != MASK]
    assert (np.diff(kept) > 0).all()
    assert n - len(kept) in (int(n * ratio), int(n * ratio) + 1)
    if replace == 0:
        assert len(kept) == len(masked)


@pytest.mark.parametrize("ratio", [0.15, 0.3, 0.5])
def test_the_share_of_masked_tokens_is_exact_on_average(ratio):
    rng, ids = np.random.default_rng(0), np.arange(100, 137)
    lost = [len(ids) - (mask_spans(ids, ratio, rng, mask=MASK) != MASK).sum() for _ in range(2000)]
    assert np.mean(lost) / len(ids) == pytest.approx(ratio, abs=0.01)


def test_spans_have_the_mean_length_of_the_poisson_distribution():
    rng, ids = np.random.default_rng(0), np.arange(1000, 3000)
    masks, lost = 0, 0
    for _ in range(50):
        result = mask_spans(ids, 0.3, rng, mask=MASK, replace_length=1, poisson_lambda=3.0)
        masks, lost = masks + (result == MASK).sum(), lost + len(ids) - (result != MASK).sum()
    assert lost / masks == pytest.approx(3.0, rel=0.05)


def test_every_position_can_be_masked():
    rng, ids = np.random.default_rng(0), np.arange(100, 120)
    hits = sum(~np.isin(ids, mask_spans(ids, 0.3, rng, mask=MASK)) for _ in range(500))
    assert hits.min() > 0.05 * 500


def test_some_masks_become_random_tokens():
    rng = np.random.default_rng(0)
    result = mask_spans(
        np.full(10_000, 50), 0.5, rng, mask=MASK, random_ratio=0.1, random_range=range(200, 300)
    )
    random = ((result >= 200) & (result < 300)).sum()
    assert random / (random + (result == MASK).sum()) == pytest.approx(0.1, abs=0.02)


def test_noise_has_its_share_and_stays_in_the_block():
    noised = replace_random(
        np.zeros(20_000, dtype=np.int64), 0.2, np.random.default_rng(0), range(56, 356)
    )
    changed = noised[noised != 0]
    assert len(changed) / len(noised) == pytest.approx(0.2, abs=0.01)
    assert (changed.min(), changed.max()) == (56, 355)


def test_the_slot_is_corrupted_in_training_only(text, slot, context):
    clean = text.encode(CORPUS[0], slot(), context())[0].ids.tolist()
    for split in ("valid", "test", "infer"):
        assert (
            text.encode(CORPUS[0], slot("source", mask_ratio=1.0), context(split))[0].ids.tolist()
            == clean
        )
        assert text.encode(CORPUS[0], slot(noise_ratio=1.0), context(split))[0].inputs is None
    assert set(text.encode(CORPUS[0], slot("source", mask_ratio=1.0), context())[0].ids) == {MASK}
    noised = text.encode(CORPUS[0], slot(noise_ratio=1.0), context())[0]
    assert noised.ids.tolist() == clean
    assert noised.inputs.tolist() != clean
    assert min(noised.inputs) >= text._range.start


def test_the_same_generator_gives_the_same_corruption(slot, context):
    text = bound()
    runs = [
        text.encode(CORPUS[0], slot("source", mask_ratio=0.4), context(seed=3))[0].ids.tolist()
        for _ in "12"
    ]
    assert runs[0] == runs[1]
