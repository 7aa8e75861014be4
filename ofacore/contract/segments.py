"""One row, encoded: segments, pieces, and what is learned of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ofacore.contract.values import Options, RowContext, SlotPlan
from ofacore.plugin.manifest import Side


@dataclass
class TokenSegment:
    """Tokens of one slot. Adjacent token segments form one run: one ``<bos>``, running positions, one shift."""

    ids: np.ndarray
    """int64 [n], vocabulary ids."""
    blocks: tuple[str, ...]
    """Blocks that its labels may come from, besides the core tokens ``<eos>`` and ``<sep>``."""
    open: bool = True
    """Its length is not fixed: it ends with ``<eos>`` or ``<sep>``."""
    inputs: np.ndarray | None = None
    """int64 [n]: what a decoder reads in place of ``ids`` (noised tokens); None: the same."""
    weights: np.ndarray | None = None
    """bool [n]: positions that carry loss; None: all."""
    allowed: tuple[np.ndarray, ...] | None = None
    """For each position, and one more for the end: ids among which the softmax runs (a closed set)."""
    boundaries: bool = True
    """False: no ``<bos>``/``<eos>`` is added around the run that this segment begins."""
    shift: bool = True
    """False: labels stand at their own position and all positions see each other (masked prediction)."""
    coordinates: np.ndarray | None = None
    """int64 [n, 3], from 0: (t, y, x) of each token, such as the cells of a picture; None: running positions.

    They count from where the run stands; whatever comes behind goes on behind the largest. In a target a token's
    coordinates are those of the position that predicts it."""


@dataclass
class DenseSegment:
    """Features that an adapter turns into positions: an image, frames, numbers."""

    features: Mapping[str, np.ndarray]
    """Arrays that are concatenated along axis 0 with those of the adapter's other segments."""
    shape: tuple[int, ...]
    """What `Adapter.length` and `Adapter.coordinates` need to know."""
    labels: Mapping[str, np.ndarray] | None = None
    """For the criterion, concatenated along axis 0; None without loss. A source has labels where something of it was
    hidden: they are learned by a loss that names the slot, and a head."""
    causal: bool = False
    """Positions see only earlier ones of this segment. Such a segment brings its inputs already shifted."""
    context: Mapping[str, np.ndarray] | None = None
    """Clean features for later segments where ``features`` are corrupted; None: not corrupted."""
    loss_positions: np.ndarray | None = None
    """int64: positions that a positionwise head sees; None: all."""
    blocks: tuple[str, ...] = ()
    """Vocabulary blocks that its labels come from, where these are tokens: what `TokenSegment.blocks` is to tokens."""


Segment = TokenSegment | DenseSegment


@dataclass(frozen=True)
class TargetSpec:
    """What a target value that is to be generated will look like."""

    blocks: tuple[str, ...] = ()
    """Vocabulary blocks of its tokens, or of the labels of a dense segment; empty: it has neither."""
    open: bool = True
    """It ends by itself, with ``<eos>`` or ``<sep>``."""
    length: int | None = None
    """Number of tokens or positions, where known."""
    closed_set: tuple[np.ndarray, ...] = ()
    """int64 ids of every allowed value, without boundaries; empty: anything."""
    coordinates: np.ndarray | None = None
    """int64 [length, 3] of the tokens, as `TokenSegment.coordinates` will have them; None: running positions."""
    shift: bool = True
    """False: its positions are predicted at their own places, not one token after the other in a run: masked tokens
    (`TokenSegment.shift` is False) and dense segments with ``blocks``."""

    @property
    def in_run(self) -> bool:
        """It is a value of tokens that belongs to a run of them."""
        return bool(self.blocks) and self.shift


@dataclass
class Piece:
    """A segment ready for the model: shifted, with its coordinates."""

    slot: SlotPlan
    adapter: str
    features: Mapping[str, np.ndarray]
    shape: tuple[int, ...]
    coordinates: np.ndarray
    """int64 [n, 3]: (t, y, x); text uses (i, i, i)."""
    causal: bool = False
    visible: bool = True
    """Later pieces see it; a corrupted target is seen by itself only."""

    @property
    def length(self) -> int:
        return len(self.coordinates)


@dataclass
class TermItem:
    """One piece's share in a loss term."""

    term: str
    """``task/slot`` or ``task/slot/criterion``."""
    side: Side
    pieces: tuple[int, ...]
    """Which pieces of that side (of ``Example.sequences`` order) its hidden states come from, in order."""
    head: str
    criterion: str
    labels: Mapping[str, np.ndarray]
    count: int
    """Units of loss by `Criterion.count`."""
    positions: np.ndarray | None = None
    """int64: offsets within the concatenated pieces; None: all positions."""
    blocks: tuple[str, ...] = ()
    weight: float = 1.0
    options: Options = field(default_factory=dict)


@dataclass
class Example:
    """One encoded row."""

    task: str
    row_id: str
    """``file:line``, ``split[index]``: where a user finds the row."""
    source: tuple[tuple[Piece, ...], ...]
    """One sequence of pieces, none for decoder-only instructions, two for a contrast."""
    target: tuple[Piece, ...]
    terms: tuple[TermItem, ...]
    context: RowContext | None = None
