"""Decoding step by step gives what one full pass gives."""

import numpy as np
import pytest
import torch

from ofacore.protocols import AdapterCall
from tests.model.layouts import (
    Chunk,
    Sample,
    collate,
    coordinates,
    model,
    per_sample,
    random_sample,
)

OPTIONS = [
    {},
    {"positions": "untied"},
    {"positions": "untied", "entangle_positions": True, "norm": "post"},
    {"experts": "modality", "scale_heads": True, "scale_attn": True},
    {"experts": "task", "scale_resids": True},
    {"experts": "topk", "experts_k": 2},
    {"experts": "place", "experts_number": 3},
]


def rows_of(number: int, length: int, sources: bool = True) -> list[Sample]:
    rng = np.random.default_rng(number)
    targets = [(Chunk(rng.integers(6, 66, length), causal=True),) for _ in range(number)]
    return [Sample(random_sample(rng).source if sources else (), target) for target in targets]


def start(built, rows, **options):
    batch = collate(rows)
    memory = built.hidden(batch).source
    source = batch.source.layout if batch.source else None
    return built.backbone.start_cache(
        len(rows), memory, source, tasks=("t",), capacity=4, **options
    )


def token_states(built, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    call = AdapterCall("token", {"tokens": tokens.flatten()}, (), torch.empty(0))
    return built.embed("target", call, places.flatten(0, 1)).view(*tokens.shape, -1)


def line(first: int, n: int, rows: int) -> torch.Tensor:
    return torch.arange(first, first + n)[None, :, None].expand(rows, n, 3)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("sources", [True, False])
@torch.no_grad()
def test_steps_equal_one_pass(options: dict, sources: bool) -> None:
    built, rows = model(**options).eval(), rows_of(3, 7, sources)
    expected = built.hidden(collate(rows)).target.view(3, 7, -1)
    cache = start(built, rows)
    tokens = torch.from_numpy(np.stack([row.target[0].values for row in rows]))
    found, first = [], 0
    for n in (1, 3, 1, 2):
        states = token_states(built, tokens[:, first : first + n], line(first, n, 3))
        found.append(built.backbone.extend(states, line(first, n, 3), cache, adapter="token"))
        first += n
    torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@torch.no_grad()
def test_segments_equal_one_pass(options: dict) -> None:
    """A hidden grid, a grid that stays, then tokens: as in training with a corrupted and a clean copy."""
    rng = np.random.default_rng(1)
    grids = [rng.normal(size=(6, 5)).astype(np.float32) for _ in range(2)]
    tokens = rng.integers(6, 66, 4)
    source = random_sample(rng).source
    chunks = (
        Chunk(grids[0], (2, 3), visible=False, adapter="grid"),
        Chunk(grids[1], (2, 3), adapter="grid"),
        Chunk(tokens, causal=True),
    )
    built = model(**options).eval()
    expected = built.hidden(collate([Sample(source, chunks)])).target
    where = torch.from_numpy(coordinates(chunks))[None]
    cache = start(built, [Sample(source, chunks)])

    def grid(values, places):
        call = AdapterCall("grid", {"values": torch.from_numpy(values)}, ((2, 3),), torch.empty(0))
        return built.embed("target", call, places[0])[None]

    noisy = grid(grids[0], where[:, :6])
    hidden = built.backbone.extend(
        noisy, where[:, :6], cache, adapter="grid", causal=False, keep=False
    )
    torch.testing.assert_close(hidden[0], expected[:6], atol=1e-5, rtol=1e-4)
    assert cache.longest == 0
    hidden = built.backbone.extend(
        grid(grids[1], where[:, 6:12]), where[:, 6:12], cache, adapter="grid", causal=False
    )
    torch.testing.assert_close(hidden[0], expected[6:12], atol=1e-5, rtol=1e-4)
    states = token_states(built, torch.from_numpy(tokens)[None], where[:, 12:])
    hidden = built.backbone.extend(states, where[:, 12:], cache, adapter="token")
    torch.testing.assert_close(hidden[0], expected[12:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", ["rotary", "untied"])
@torch.no_grad()
def test_rows_of_unequal_length(positions: str) -> None:
    built, rows = model(positions=positions).eval(), rows_of(2, 6)
    cache = start(built, rows)
    tokens = torch.from_numpy(np.stack([row.target[0].values for row in rows]))
    valid = torch.tensor([[True, True, True], [True, False, False]])
    built.backbone.extend(
        token_states(built, tokens[:, :3], line(0, 3, 2)), line(0, 3, 2), cache, valid, "token"
    )
    assert cache.lengths.tolist() == [3, 1]
    following = torch.stack([tokens[0, 3:5], tokens[1, 1:3]])
    places = torch.tensor([[3, 4], [1, 2]])[:, :, None].expand(2, 2, 3)
    found = built.backbone.extend(
        token_states(built, following, places), places, cache, None, "token"
    )
    full = per_sample(collate(rows), built.hidden(collate(rows)).target)
    torch.testing.assert_close(found[0], full[0][3:5], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], full[1][1:3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", ["rotary", "untied"])
@torch.no_grad()
def test_beams_share_their_source(positions: str) -> None:
    built, rows = model(positions=positions).eval(), rows_of(2, 5)
    tokens = torch.from_numpy(np.stack([row.target[0].values for row in rows]))
    cache = start(built, rows)
    keys = cache.memory.keys[0]
    built.backbone.extend(
        token_states(built, tokens[:, :2], line(0, 2, 2)), line(0, 2, 2), cache, adapter="token"
    )
    for order in ([0, 0, 0, 1, 1, 1], [2, 0, 4, 4]):
        cache.reorder(torch.tensor(order))
    assert cache.memory.keys[0] is keys and cache.source.tolist() == [0, 0, 1, 1]
    following = tokens[cache.source, 2:3]
    found = built.backbone.extend(
        token_states(built, following, line(2, 1, 4)), line(2, 1, 4), cache, adapter="token"
    )
    full = built.hidden(collate(rows)).target.view(2, 5, -1)
    torch.testing.assert_close(found[:, 0], full[[0, 0, 1, 1], 2], atol=1e-5, rtol=1e-4)
