"""Where positions stand: schemes that tell attention about it, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from ofacore.contract.modules import PositionGrid, PositionLine
from ofacore.contract.values import Options

if TYPE_CHECKING:
    from torch import Tensor

AttentionPlace = Literal["encoder", "decoder", "cross"]
"""Self-attention of the encoder or the decoder, or attention of the decoder to the encoder's output."""
Stack = Literal["encoder", "decoder"]


@dataclass(frozen=True)
class PositionsContext:
    """What a position scheme knows of the model when it is built."""

    hidden: int
    """Width of the states, H."""
    heads: int
    """Attention heads of the model, of all processes."""
    encoder_layers: int
    decoder_layers: int
    max_positions: int = 1024
    """Most positions along one axis."""
    scale_factor: float = 1.0
    """``model.attn_scale_factor``: content's scores are divided by the root of the head's width times this."""
    adapters: tuple[str, ...] = ()
    """Those of the model, in the order that `PositionView.kind` counts."""
    linear: frozenset[str] = frozenset()
    """Adapters with ``axes = 1``: their positions lie on a line."""
    grids: Mapping[str, PositionGrid] = field(default_factory=dict)
    """Adapter -> its ``grid``, where it has one."""
    options: Options = field(default_factory=dict)
    """Every option that the scheme declares."""
    lines: Mapping[str, PositionLine] = field(default_factory=dict)
    """Adapter -> its ``line``, where it has one."""

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


@dataclass
class PositionView:
    """What a position scheme sees of one attention group's positions: R rows of length L."""

    coordinates: Tensor
    """int64 [R, L, 3]: (t, y, x)."""
    run: Tensor
    """int64 [R, L]: a number for each run of tokens, and each segment of another adapter."""
    kind: Tensor
    """int64 [R, L]: number of the adapter that made the position; -1 if the model has none of that name."""


@dataclass
class RelativeBias:
    """What is added to the scores of one attention group, as rows of small tables: the same rows in all layers."""

    indices: tuple[Tensor, ...]
    """int32 [R, L, K] each: rows of a layer's table, for each query and key; what they name is added up."""
    table: Callable[[int], Tensor]
    """Layer -> its table [rows, h]: a number for each head. h is the model's heads, or this process's share of them
    where the scheme ``splits_heads``."""


class Positions(Protocol):
    """A position scheme: how attention knows where positions stand. An ``nn.Module``, built as ``cls(context:
    PositionsContext)``.

    A class that inherits from this protocol, behind ``nn.Module``, has all members, which do nothing; any other must
    have each of them. The answer for a position or a pair may depend on their coordinates, runs and kinds alone: not on
    what else stands in the row, so that decoding one position at a time gives what decoding all of them at once gives.
    Matrices of a scheme start with normal numbers of deviation 0.02, whatever its constructor gave.
    """

    packs: ClassVar[bool] = True
    """Several sequences may share a row."""
    restarts: ClassVar[bool] = False
    """Coordinates count from 0 in every run and segment, not on through the sequence."""
    splits_heads: ClassVar[bool] = False
    """Features and tables are those of this process's heads alone (`ofacore.parts.own_heads`); otherwise they are for
    all heads, and each process of a tensor group takes its own."""
    most: int | None = None
    """Positions of a run that its tables tell apart, at which generation ends; None: any number."""
    width: int = 0
    """Features w that `features` gives for each head; 0: none."""
    plain: Collection[AttentionPlace] = ()
    """Places whose scores are divided by the root of the head's width alone, without ``model.attn_scale_factor`` and
    ``model.scale_heads``."""

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Coordinates [..., 3] -> complex64 [..., p]: the first p pairs of features of each query and key are
        multiplied with these, in the self-attention of both sides. p is at most half of the head's width. None: no
        rotation."""
        return None

    def states(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Coordinates [n, 3], kinds [n] -> what is added to the embeddings [n, H]; None: nothing."""
        return None

    def vectors(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Coordinates [n, 3], kinds [n] -> position vectors [n, H], computed once, for `features`; None: none."""
        return None

    def features(
        self, place: AttentionPlace, role: Literal["query", "key"], vectors: Tensor | None
    ) -> Tensor | None:
        """Vectors [..., H] -> [..., h, w]. The scores of a place are raised by the product of the query's and the
        key's. None: nothing, which then holds of both roles."""
        return None

    def relative(
        self, place: AttentionPlace, queries: PositionView, keys: PositionView
    ) -> RelativeBias | None:
        """What is added to the scores of a group; None: nothing, which then holds of every group of that place.

        While a target is produced, the new positions alone are the queries. In cross-attention the runs of queries and
        keys have nothing to do with each other.
        """
        return None

    def readers(self, name: str) -> Sequence[tuple[Stack, int | None]] | None:
        """(Side, layer) that use one of its parameters; layer None: any of the side. None: all use it. Pipeline stages
        without a reader do not hold the parameter."""
        return None


@dataclass(frozen=True)
class PositionsWeight:
    """One parameter of a position scheme, as `PositionsCost` tells of it."""

    name: str
    """As the scheme has it, such as ``tables.0.weight``."""
    shape: tuple[int, ...]
    split: int | None = None
    """Dimension that a tensor group splits."""
    table: bool = False
    """Rows are looked up."""
    readers: Sequence[tuple[Stack, int | None]] | None = None
    """As `Positions.readers` has it."""


class PositionsCost(Protocol):
    """What a position scheme costs, for `ofa plan-layout`: a component of the scheme's name, which imports no torch.

    Built as ``cls(context: PositionsContext)``. A class that inherits from this protocol has all members; a scheme
    without such a component is counted as one that costs nothing.
    """

    width: int = 0
    """As `Positions.width`."""
    rotates: bool = False
    """Queries and keys are rotated."""
    biased: bool = False
    """There are relative biases of self-attention."""
    plain: Collection[AttentionPlace] = ()
    """As `Positions.plain`."""

    def weights(self) -> Sequence[PositionsWeight]:
        """Every parameter, for a model of tokens alone."""
        return ()

    def kept(self, queries: int, keys: int, size: int) -> float:
        """Bytes that all layers of a side share for the backward pass, for one sample; the rotation is left out.

        Args:
            queries: Positions of a sample that read.
            keys: Positions that they read; as many in self-attention.
            size: Bytes of a number.
        """
        return 0.0
