"""Functions that run on the ranks of `run_distributed` for the suites."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ofa_kit.compare import difference
from ofacore.encoding.encoder import Encoder
from ofacore.ground.artifacts import Artifact
from ofacore.ground.vocabulary import Vocabulary
from ofacore.protocols import Example, Options, Piece


def encode_digests(
    encoder: Encoder, rows: Sequence[Mapping[str, Any]], seed: int, share: bool
) -> list[str]:
    """Digest of every encoded row; with ``share`` of every ``ranks``-th row, the others empty."""
    import torch.distributed as dist

    rank, ranks = (dist.get_rank(), dist.get_world_size()) if share else (0, 1)
    return [
        digest(
            encoder.encode(row, split="train", rng=np.random.default_rng([seed, i]), row_id=str(i))
        )
        if i % ranks == rank
        else ""
        for i, row in enumerate(rows)
    ]


def digest(example: Example) -> str:
    """Equal for equal encoded rows: features, shapes, coordinates and labels of all pieces."""
    total = hashlib.sha256()
    for piece in [piece for sequence in (*example.source, example.target) for piece in sequence]:
        total.update(repr((piece.adapter, piece.shape, piece.causal, piece.visible)).encode())
        _add(total, {**piece.features, "coordinates": piece.coordinates})
    for term in example.terms:
        total.update(repr((term.term, term.pieces, term.count, term.blocks, term.weight)).encode())
        _add(total, term.labels)
    return total.hexdigest()


def _add(total: Any, arrays: Mapping[str, Any]) -> None:
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())


def embed_and_differentiate(
    factory: Any,
    options: Options,
    vocabulary: Vocabulary,
    artifacts: Mapping[str, Artifact],
    state: Mapping[str, np.ndarray],
    pieces: Sequence[Piece],
) -> dict[str, np.ndarray]:
    """States and gradients of an adapter with given weights, under ``states`` and the parameters' names."""
    import torch

    from ofa_kit.modules import build, embed

    module = build(factory, options, vocabulary, artifacts)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    module.eval()
    states = embed(module, pieces)
    weights = torch.linspace(-1.0, 1.0, states.numel()).view_as(states)
    if states.requires_grad:
        (states * weights).sum().backward()
    found = {f"gradient of {n}": p.grad for n, p in module.named_parameters() if p.grad is not None}
    return {
        "states": states.detach().numpy(),
        **{name: grad.numpy() for name, grad in found.items()},
    }


def told_apart(
    expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], tolerance: float
) -> str:
    """What tells two results of `embed_and_differentiate` apart, or an empty text.

    Numbers may differ by ``tolerance``, those of an array with larger ones than 1 by such a share of its largest:
    sums of many large products are rounded otherwise on another number of threads.
    """
    place = "what it computes"
    if expected.keys() != found.keys():
        return difference(expected, found, tolerance, place)
    for name, numbers in expected.items():
        largest = float(np.abs(numbers).max(initial=1.0))
        if wrong := difference(numbers, found[name], tolerance * largest, f"{place}[{name!r}]"):
            return wrong
    return ""
