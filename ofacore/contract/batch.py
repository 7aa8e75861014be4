"""One micro-batch: a flat stream of positions a side, calls of adapters, groups of losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ofacore.contract.values import Options
from ofacore.plugin.manifest import Side

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RowPlaces:
    """Where the positions of a stream stand in the rows of its attention groups, all groups one behind the other."""

    index: Tensor | None
    """int64 [slots]: position of each slot, 0 where empty; None: slots are the stream itself."""
    inverse: Tensor | None
    """int64 [N]: slot of each position; None where a position may stand in several slots, or ``index`` is None."""


@dataclass(frozen=True)
class LayoutFacts:
    """What the host knows of a `Layout`, so that it need not ask the device."""

    full: tuple[bool, ...]
    """For each of ``rows``: every position sees every other in self-attention, and no place is empty."""
    places: RowPlaces
    """Of ``rows``."""
    adapters: tuple[int, ...]
    """Positions of each of the layout's adapters."""
    tasks: tuple[int, ...]
    """Positions of each of its tasks."""
    memory_full: tuple[bool, ...] = ()
    """For each of ``memory_rows``: every position reads every one, or none at all."""
    memory_blind: tuple[bool, ...] = ()
    """For each of ``memory_rows``: some place of the row reads nothing."""
    memory_places: RowPlaces | None = None
    """Of ``memory_rows``."""


@dataclass
class Layout:
    """Where every position of one side of a micro-batch stands. N positions, S sequences."""

    sequence: Tensor
    """int64 [N]: sequence of each position; positions of a sequence are contiguous and in order."""
    segment: Tensor
    """int64 [N]: number of the piece that the position belongs to, unique within the side."""
    coordinates: Tensor
    """int64 [N, 3]."""
    causal: Tensor
    """bool [N]: the position sees only earlier positions of its own segment."""
    visible: Tensor
    """bool [N]: later segments of the same sequence see it."""
    adapter: Tensor
    """int64 [N]: index into ``adapters``."""
    adapters: tuple[str, ...]
    task: Tensor
    """int64 [N]: index into ``tasks``."""
    tasks: tuple[str, ...]
    slots: tuple[str, ...]
    """Name ``task/slot`` of every segment, in segment order."""
    rows: tuple[Tensor, ...]
    """Attention groups: int64 [rows, L] of positions, -1 where empty. A row holds whole sequences, one or several."""
    sequences: int = 0
    memory: Tensor | None = None
    """int64 [S], target only: source sequence that each target sequence reads, -1 for none."""
    memory_rows: tuple[Tensor, ...] = ()
    """Target only, parallel to ``rows``: int64 [rows, K] of source positions that the row's sequences read, or -1."""
    facts: LayoutFacts | None = None
    """None: nothing but the tensors is known."""

    @property
    def positions(self) -> int:
        return int(self.sequence.shape[0])


@dataclass
class AdapterCall:
    """All segments of one adapter on one side of a micro-batch: one `Adapter.embed` call."""

    adapter: str
    features: dict[str, Tensor]
    shapes: tuple[tuple[int, ...], ...]
    index: Tensor
    """int64 [n]: where the embedded positions go in the stream, in the adapter's output order."""


@dataclass
class BatchSide:
    """Source or target of a micro-batch."""

    layout: Layout
    calls: tuple[AdapterCall, ...]
    in_order: bool | None = None
    """What the calls give, one behind the other, is the stream; None: nobody knows."""
    order: Tensor | None = None
    """int64 [N]: place of each position in what the calls give; None: nobody knows, or it is ``in_order``."""


@dataclass
class TermGroup:
    """Loss items of a micro-batch that share head, criterion, options and blocks: one head and one criterion call."""

    head: str
    criterion: str
    side: Side
    options: Options
    blocks: tuple[str, ...]
    index: Tensor
    """int64 [m]: positions of the side's stream, items in order."""
    lengths: tuple[int, ...]
    """Positions of each item; sum is m."""
    labels: dict[str, Tensor]
    label_lengths: dict[str, tuple[int, ...]]
    """Label name -> rows of each item."""
    terms: tuple[str, ...]
    """Term of each item."""
    counts: tuple[int, ...]
    weights: tuple[float, ...]
    samples: tuple[int, ...]
    """Index into ``Batch.samples`` of each item."""
    whole: bool | None = None
    """``index`` is all positions of the side in order; None: nobody knows."""


@dataclass(frozen=True)
class SampleInfo:
    """Where a sample of a batch came from."""

    task: str
    row_id: str
    number: int = 0


@dataclass
class Batch:
    """One micro-batch, ready for the model."""

    source: BatchSide | None
    target: BatchSide | None
    terms: tuple[TermGroup, ...]
    samples: tuple[SampleInfo, ...]
    stand_ins: tuple[tuple[Side, AdapterCall], ...] = ()
    """Calls of adapters marked ``collective`` that another rank makes here; what they give counts for nothing."""


BatchT = TypeVar("BatchT")
