"""Adapters, heads and criteria built on their own, without a backbone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.ground.artifacts import Artifact
from ofacore.ground.vocabulary import CORE, Vocabulary
from ofacore.protocols import BuildContext, Options, Piece

HIDDEN, HEADS = 32, 2


class LocalEmbedding(nn.Module):
    """The shared token table of one process: what `BuildContext.embedding` promises and nothing more."""

    def __init__(self, vocabulary: Vocabulary, hidden: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.table = nn.Embedding(vocabulary.size, hidden)
        self.silent: frozenset[int] = frozenset()
        self.cap: float | None = None

    def forward(self, ids: Tensor) -> Tensor:
        """ids [n] -> [n, H]."""
        return self.table(ids)  # type: ignore[no-any-return]

    def output(self, blocks: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(weight [v, H], ids [v]) of the core tokens and some blocks."""
        ids = sorted(
            i for name in dict.fromkeys((CORE.name, *blocks)) for i in self.vocabulary.range(name)
        )
        found = torch.tensor(ids, device=self.table.weight.device)
        return self.table.weight[found], found

    def output_part(self, blocks: Sequence[str]) -> tuple[Tensor, Tensor, None]:
        """As `output`; None: this process holds all rows."""
        return *self.output(blocks), None

    def output_bias(self, ids: Tensor) -> Tensor | None:
        """Nothing is added to the logits of ids [v]."""
        return None


def build_context(
    options: Options,
    vocabulary: Vocabulary,
    artifacts: Mapping[str, Artifact],
    hidden: int = HIDDEN,
) -> BuildContext:
    """What a module is built from."""
    return BuildContext(
        hidden, options, vocabulary, LocalEmbedding(vocabulary, hidden), artifacts, HEADS
    )


def build(
    factory: Any,
    options: Options,
    vocabulary: Vocabulary,
    artifacts: Mapping[str, Artifact],
    seed: int = 1,
    hidden: int = HIDDEN,
) -> Any:
    """Build a module under a seed, beside a token table that is always the same; global generators stay as they "
    "were."""
    with other_random_state(0):
        context = build_context(options, vocabulary, artifacts, hidden)
    with other_random_state(seed):
        return factory(context)


def stacked(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    """Features of several segments as one adapter call gets them: real numbers as fp32."""
    features = {}
    for name in parts[0]:
        joined = np.concatenate([np.asarray(part[name]) for part in parts])
        value = torch.from_numpy(joined)
        features[name] = value.float() if value.is_floating_point() else value
    return features


def embed(module: Any, pieces: Sequence[Piece]) -> Tensor:
    """States [sum of lengths, H] of some pieces, by one call."""
    states: Tensor = module.embed(
        stacked([piece.features for piece in pieces]), [piece.shape for piece in pieces]
    )
    return states


def random_states() -> tuple[Any, ...]:
    """The global random generators, to be compared."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return (
        random.getstate(),
        (name, np.asarray(keys).tolist(), *rest),
        torch.get_rng_state().tolist(),
    )


@contextmanager
def other_random_state(seed: int) -> Iterator[None]:
    """Set all global random generators to a seed, and afterwards back."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])
