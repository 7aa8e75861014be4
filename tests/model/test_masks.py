"""Attention masks against the rule, written out position by position."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.model.backbone.attention_rows import Stream, cross_groups, self_groups, stream_of
from ofacore.protocols import Layout
from tests.model.layouts import collate, random_sample


def plain(layout: Layout) -> Stream:
    return stream_of(layout, layout.adapters, ())


def sees(layout: Layout, q: int, k: int, source: bool) -> bool:
    if layout.sequence[q] != layout.sequence[k]:
        return False
    if layout.segment[q] == layout.segment[k]:
        return bool(k <= q or not layout.causal[q])
    return source or bool(layout.segment[k] < layout.segment[q] and layout.visible[k])


def batch_of(seed: int, number: int):
    rng = np.random.default_rng(seed)
    samples = [random_sample(rng, source=rng.random() < 0.8) for _ in range(number)]
    order = rng.permutation(number).tolist()
    cut, inner = sorted(rng.integers(0, number + 1, 2).tolist())
    groups = [
        [order[:cut]] if cut else [],
        [[index] for index in order[cut:inner]],
        [order[inner:]] if inner < number else [],
    ]
    return collate(samples, [group for group in groups if group])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_masks_follow_the_rule(seed: int, number: int) -> None:
    batch = batch_of(seed, number)
    for side, source in ((batch.source, True), (batch.target, False)):
        if side is None:
            continue
        layout = side.layout
        for rows, group in zip(
            layout.rows, self_groups(layout, plain(layout), source), strict=True
        ):
            mask = (
                group.mask
                if group.mask is not None
                else torch.ones(*rows.shape, rows.shape[1], dtype=torch.bool)
            )
            for r, q, k in np.ndindex(*mask.shape):
                if rows[r, q] >= 0:
                    expected = rows[r, k] >= 0 and sees(
                        layout, int(rows[r, q]), int(rows[r, k]), source
                    )
                    assert bool(mask[r, q, k]) == expected
                else:
                    assert bool(mask[r, q, k]) == (q == k)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_cross_attention_reads_its_own_source_alone(seed: int, number: int) -> None:
    batch = batch_of(seed, number)
    if batch.source is None:
        return
    layout, source = batch.target.layout, batch.source.layout
    streams = plain(layout), plain(source)
    for rows, keys, group in zip(
        layout.rows,
        layout.memory_rows,
        cross_groups(layout, streams[0], source, streams[1]),
        strict=True,
    ):
        for r, q in np.ndindex(*rows.shape):
            if rows[r, q] < 0:
                continue
            memory = layout.memory[layout.sequence[rows[r, q]]]
            expected = [bool(k >= 0 and source.sequence[k] == memory) for k in keys[r]]
            blind = not any(expected)
            assert blind == bool(group.blind is not None and group.blind[r, q])
            if not blind:
                assert expected == (
                    group.mask[r, q].tolist() if group.mask is not None else [True] * len(expected)
                )


def test_no_mask_where_everything_is_seen() -> None:
    rng = np.random.default_rng(0)
    sample = random_sample(rng, dense=False)
    batch = collate([sample, sample])
    (group,) = self_groups(batch.source.layout, plain(batch.source.layout), True)
    assert group.mask is None
