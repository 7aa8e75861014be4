"""Every parameter of a model by name and shape, as `ofacore.model.universal` builds it from tokens alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ofa_planner.workload import Workload
from ofacore.protocols import Stack

Partial = Literal["never", "sequence", "always"]


@dataclass(frozen=True)
class Weight:
    """One parameter."""

    name: str
    shape: tuple[int, ...]
    split: int | None = None
    """Dimension that the tensor group splits."""
    table: bool = False
    """Rows are looked up; never made orthogonal by Muon."""
    partial: Partial = "never"
    """When each process of a tensor group sees a part of its gradient: under sequence parallelism, or always."""
    expert: bool = False
    """It belongs to a feed-forward expert."""
    readers: tuple[tuple[Stack, int | None], ...] | None = None
    """Of the position scheme: (side, layer) that use it, layer None: any of the side; None: all do."""

    @property
    def numbers(self) -> int:
        """Elements."""
        return math.prod(self.shape)


def weights(work: Workload) -> tuple[Weight, ...]:
    """All parameters of the model, embeddings included; those of plugins' adapters and heads are left out."""
    return tuple(_all(work))


def _all(work: Workload) -> Iterator[Weight]:
    config, hidden = work.model, work.sizes.hidden
    tables = ("table",) if config.tied_head else ("table", "projection")
    for name in tables:
        yield Weight(f"embedding.{name}.weight", (work.vocabulary, hidden), 0, table=True)
    if config.type_embedding:
        typed = ("source", "target") if config.target_type_embedding else ("source",)
        for side in typed:
            yield Weight(f"types.{side}/token", (hidden,))
    if config.layernorm_embedding:
        of_adapter = ".token" if config.norm_per_adapter else ""
        for side in ("source", "target"):
            yield from _norm(work, f"{side}_norm{of_adapter}", hidden)
    yield from _positions(work)
    for place, number in (
        ("encoder", work.sizes.encoder_layers),
        ("decoder", work.sizes.decoder_layers),
    ):
        for layer in range(number):
            yield from _layer(work, f"backbone.{place}.{layer}", place == "decoder")
        if config.norm == "pre":
            yield from _by_position(_norm(work, f"backbone.{place}_norm", hidden))


def _by_position(found: Iterator[Weight]) -> Iterator[Weight]:
    return (replace(weight, partial="sequence") for weight in found)


def _norm(work: Workload, name: str, size: int, bias: bool | None = None) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (size,))
    if work.model.norm_type == "layernorm" if bias is None else bias:
        yield Weight(f"{name}.bias", (size,))


def _column(name: str, inputs: int, outputs: int) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (outputs, inputs), 0)
    yield Weight(f"{name}.bias", (outputs,), 0)


def _row(name: str, inputs: int, outputs: int, sequence: bool = True) -> Iterator[Weight]:
    partial: Partial = "sequence" if sequence else "never"
    yield Weight(f"{name}.weight", (outputs, inputs), 1)
    yield Weight(f"{name}.bias", (outputs,), partial=partial)


def _layer(work: Workload, name: str, cross: bool) -> Iterator[Weight]:
    hidden = work.sizes.hidden
    if work.model.scale_resids:
        yield Weight(f"{name}.residual_scale", (hidden,), partial="sequence")
    yield from _attention(work, name, "attention")
    yield from _attention(work, name, "cross") if cross else ()
    yield from _feed_forward(work, f"{name}.ffn")
    yield from _by_position(_norm(work, f"{name}.ffn_norm", hidden))


def _attention(work: Workload, name: str, part: str) -> Iterator[Weight]:
    config, sizes = work.model, work.sizes
    plain = name.startswith("backbone.encoder") and "encoder" in work.scheme.plain
    if config.scale_heads and not plain:
        yield Weight(f"{name}.{part}.head_scale", (sizes.heads,), 0)
    yield from _row(f"{name}.{part}.out", sizes.hidden, sizes.hidden)
    for each in ("query_norm", "key_norm") if config.qk_norm else ():
        yield Weight(f"{name}.{part}.{each}.weight", (sizes.head_size,), partial="always")
    if part == "attention":
        yield from _column(f"{name}.{part}.qkv", sizes.hidden, 3 * sizes.hidden)
    else:
        yield from _column(f"{name}.{part}.query", sizes.hidden, sizes.hidden)
        yield from _column(f"{name}.{part}.key_value", sizes.hidden, 2 * sizes.hidden)
    for each in ("norm", "scale") if config.scale_attn else ("norm",):
        yield from _by_position(_norm(work, f"{name}.{part}_{each}", sizes.hidden))


def _feed_forward(work: Workload, name: str) -> Iterator[Weight]:
    if not work.experts:
        yield from _network(work, name, work.sizes.ffn, True)
        return
    for number in range(work.experts):
        yield from (
            replace(weight, expert=True)
            for weight in _network(work, f"{name}.each.{number}", work.expert_ffn, False)
        )
    if work.model.experts_shared:
        yield from _network(work, f"{name}.shared", work.model.experts_shared, False)
    yield Weight(f"{name}.router.weight", (work.experts, work.sizes.hidden))


def _network(work: Workload, name: str, ffn: int, sequence: bool) -> Iterator[Weight]:
    hidden = work.sizes.hidden
    yield from _column(f"{name}.up", hidden, ffn)
    if work.model.scale_fc:
        yield from (
            replace(weight, split=0) for weight in _norm(work, f"{name}.norm", ffn, bias=True)
        )
    yield from _row(f"{name}.down", ffn, hidden, sequence)


def _positions(work: Workload) -> Iterator[Weight]:
    for found in work.scheme.weights():
        readers = None if found.readers is None else tuple(found.readers)
        yield Weight(
            f"backbone.positions.{found.name}",
            found.shape,
            found.split,
            found.table,
            readers=readers,
        )
