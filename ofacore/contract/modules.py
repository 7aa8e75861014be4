"""From features to states, and from states to predictions: adapters and heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ofacore.contract.members import optional
from ofacore.contract.values import Options
from ofacore.ground.artifacts import Artifact
from ofacore.ground.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class BuildContext:
    """What an adapter or head gets when the model is built; a criterion gets its options alone."""

    hidden: int
    options: Options
    vocabulary: Vocabulary
    embedding: Any
    """The shared token embedding: ``embedding(ids [n]) -> [n, H]``; ``embedding.output(blocks) -> (weight [v, H], ids
    [v])``: the projection on some blocks and the core tokens; ``embedding.output_bias(ids [v]) -> [v] | None``."""
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    """Preprocessor name -> its artifact."""
    heads: int = 4
    """Attention heads of the model, for towers that follow its shape."""


@dataclass(frozen=True)
class PositionGrid:
    """Where cells of an adapter stand in tables of learned positions, for schemes that have such tables.

    A cell at (y, x) within its segment has row ``1 + y * columns + x`` of the absolute table; row 0 is the class
    token's. With ``class_token`` that token stands at (0, 0) and cells count from (1, 1).
    """

    rows: int
    columns: int
    class_token: bool = False
    relative: bool = True
    """There is a bias for each pair of distances (y, x) between two cells, up to a whole grid."""


@dataclass(frozen=True)
class PositionLine:
    """Where positions of an adapter on a line stand in tables of learned positions, if not where tokens do."""

    rows: int
    """Rows of the absolute table; what stands behind the last has the last."""
    reach: int
    """Longest distance that biases tell apart."""
    buckets: int
    """Half the number of distances that have a bias; beyond half of these, buckets widen as their logarithm."""


@runtime_checkable
class Upgradable(Protocol):
    """What a component with parameters may offer besides, so that models of older versions go on working.

    For adapters, heads, criteria, positions and backbones. It is called when a model is loaded, or a run goes on, that
    another version of the component's distribution has written. Options that are stored keep their names.
    """

    @staticmethod
    def upgrade_state(state: Mapping[str, Tensor], version: str) -> Mapping[str, Tensor]:
        """The component's parameters by the names that they have today.

        A tensor that is passed on as it is keeps what the optimiser knows of it; one that is made anew starts afresh.

        Args:
            state: Name below the component -> tensor, as they were stored.
            version: Of the distribution that wrote them.
        """


class Adapter(Protocol):
    """An ``nn.Module`` that embeds features. Built as ``cls(context: BuildContext)``.

    ``axes``, ``grid``, ``line``, ``collective``, ``located`` and ``stored_options`` may be left out.
    """

    axes: int = 3
    """1: its positions lie on a line, their three coordinates are equal. 3: they differ."""
    grid: PositionGrid | None = None
    """Where its cells stand in tables of learned positions; None: they stand in none."""
    line: PositionLine | None = None
    """With ``axes = 1``: where its positions stand in such tables; None: where tokens do."""
    collective: bool = False
    """It takes part in communication, by the options that it has; the manifest may say so of all of them."""

    located: bool = False
    """``embed`` has a third argument, ``coordinates=None``: int64 [sum of lengths, 3], where its positions stand in the
    row; None where that does not matter, as on ranks without a value. For tokens with coordinates of their own, whose
    shape does not tell them."""

    @staticmethod
    @optional
    def stored_options(options: Options) -> Options:
        """What a checkpoint keeps of its options: not the files that nobody needs once the weights are stored."""
        return options

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """Number of positions that a segment of this shape becomes. Pure."""

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [length, 3]: (t, y, x) from 0. Pure."""

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of lengths, H] of all segments, in order. Never called with none."""


@dataclass(frozen=True)
class HeadContext:
    """What a head knows of the states it gets."""

    lengths: tuple[int, ...]
    """Positions of each item; they are concatenated in order."""
    blocks: tuple[str, ...] = ()


class Head(Protocol):
    """An ``nn.Module`` from states to a prediction. Built as ``cls(context: BuildContext)``.

    ``positionwise``: gets the positions with loss alone; otherwise whole items, in order. ``scores_founders`` may be
    left out.
    """

    positionwise: ClassVar[bool]

    @staticmethod
    @optional
    def scores_founders(options: Options) -> bool:
        """Whether it scores tokens of every block that the model was made with, whatever the slot: a model of some of
        the tasks keeps these blocks."""
        return False

    def __call__(self, hidden: Tensor, ctx: HeadContext) -> Any:
        """Prediction for states [m, H]; any object that its criteria and generators understand."""


ModuleFactory = Callable[[BuildContext], "nn.Module"]
