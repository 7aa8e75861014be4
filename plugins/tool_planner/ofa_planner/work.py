"""Floating-point operations of matrix products, which are all but a few per cent of a step's.

Left out: normalisation, activation functions, softmax, dropout, rotation of queries and keys, look-ups, the optimiser's
element-wise updates, and everything that plugins' adapters and heads compute. One multiply-add counts as two.
"""

from __future__ import annotations

from dataclasses import dataclass

from ofa_planner.workload import Workload

EXPLICIT_UP_TO = 128 * 128
"""Queries times keys up to which attention is plain products; above, a fused kernel computes scores again backwards."""
LOGITS_BUDGET = 64 * 2**20
"""Bytes of logits that are kept for the backward pass; if there are more, they are computed again."""


@dataclass(frozen=True)
class Work:
    """Operations for some samples."""

    forward: float = 0.0
    backward: float = 0.0
    again: float = 0.0
    """Forward operations that activation checkpointing repeats."""

    def __add__(self, other: Work) -> Work:
        return Work(
            self.forward + other.forward, self.backward + other.backward, self.again + other.again
        )

    def times(self, factor: float) -> Work:
        """So many times as much."""
        return Work(self.forward * factor, self.backward * factor, self.again * factor)

    def total(self, recompute: bool) -> float:
        """Of a training step."""
        return self.forward + self.backward + (self.again if recompute else 0.0)


def _products(operations: float) -> Work:
    """Each product has two in the backward pass."""
    return Work(operations, 2 * operations, operations)


def has_features(work: Workload) -> bool:
    """Whether position vectors travel as further features of queries and keys, as wide as those of the content."""
    return work.scheme.width > 0


def _scores(work: Workload, queries: int, keys: int) -> Work:
    """Scores and their product with the values; masks save nothing. Long rows have a fifth product backwards."""
    operations = (6.0 if has_features(work) else 4.0) * queries * keys * work.sizes.hidden
    return Work(
        operations, operations * (2.0 if queries * keys <= EXPLICIT_UP_TO else 2.5), operations
    )


def _feed_forward(work: Workload, positions: int) -> Work:
    sizes = work.sizes
    up = 2.0 * positions * sizes.hidden * sum(work.ffn_widths)
    both = _products(2 * up)
    if work.experts:
        return both + _products(2.0 * positions * sizes.hidden * work.experts)
    last_is_kept = work.model.dropout > 0 or work.model.norm == "post" or work.model.scale_resids
    return both if last_is_kept else Work(both.forward, both.backward, up)


def encoder_layer(work: Workload) -> Work:
    """One encoder layer, for one sample."""
    hidden, length = work.sizes.hidden, work.source
    linear = _products(2.0 * length * hidden * 4 * hidden)
    return linear + _scores(work, length, length) + _feed_forward(work, length)


def decoder_layer(work: Workload) -> Work:
    """One decoder layer, for one sample."""
    hidden, length = work.sizes.hidden, work.target
    linear = _products(2.0 * length * hidden * 4 * hidden)
    cross = _products(2.0 * length * hidden * 2 * hidden + 2.0 * work.source * hidden * 2 * hidden)
    scores = _scores(work, length, length) + _scores(work, length, work.source)
    return linear + cross + scores + _feed_forward(work, length)


def output(work: Workload, samples: int, tensor: int = 1) -> Work:
    """Projection on the vocabulary and its loss, for so many samples of a micro-batch; of the whole tensor group."""
    operations = 2.0 * samples * work.target * work.sizes.hidden * work.vocabulary
    kept = logits_bytes(work, samples, tensor) <= LOGITS_BUDGET
    return Work(operations, operations * (2.0 if kept else 3.0), 0.0)


def logits_bytes(work: Workload, samples: int, tensor: int = 1) -> int:
    """Bytes of all logits of a micro-batch on one process; several processes keep them in fp32."""
    width = work.width if tensor == 1 else 4
    return samples * work.target * -(-work.vocabulary // tensor) * width


def positions(work: Workload, side: str) -> Work:
    """Features of positions that all layers of a side share, for one sample."""
    if not has_features(work):
        return Work()
    source, target = (
        _position_products(work, *pair) for pair in ((work.source,) * 2, (work.target,) * 2)
    )
    found = (
        source if side == "encoder" else target + _position_products(work, work.target, work.source)
    )
    return Work(found.forward, found.backward, 0.0)


def _position_products(work: Workload, queries: int, keys: int) -> Work:
    return _products(2.0 * (queries + keys) * work.sizes.hidden**2)


def step(work: Workload, recompute: bool = False, micro_batch: int = 1) -> float:
    """Operations of all layers, the output and the biases of a whole step."""
    sizes = work.sizes
    layers = encoder_layer(work).times(sizes.encoder_layers) + decoder_layer(work).times(
        sizes.decoder_layers
    )
    both = layers + positions(work, "encoder") + positions(work, "decoder")
    out = output(work, micro_batch).times(work.samples / micro_batch)
    return both.times(work.samples).total(recompute) + out.total(False)
