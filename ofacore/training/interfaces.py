"""What the loop needs of its neighbours, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ofacore.protocols import Batch, Criterion, Loss, TermGroup


class BadRow(Protocol):
    """A row that the loader replaced."""

    @property
    def task(self) -> str: ...
    @property
    def row_id(self) -> str: ...
    @property
    def reason(self) -> str: ...


class StepData(Protocol):
    """All samples of one step."""

    @property
    def step(self) -> int:
        """Counted from 0."""

    @property
    def batches(self) -> Sequence[Batch]:
        """Micro-batches."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Term -> units of loss in the whole step."""

    @property
    def cursor(self) -> Mapping[str, Any]:
        """JSON-ready: where the data go on after this step."""

    @property
    def bad_rows(self) -> Sequence[BadRow]:
        """Rows that were replaced by others."""


@runtime_checkable
class Divisible(Protocol):
    """A step whose micro-batches can be cut: needed where one does not fit into memory or holds a faulty sample."""

    def halves(self, batch: Batch) -> Sequence[Batch]:
        """Two micro-batches with the samples of one; itself alone where it holds a single sample."""


class StepSource(Protocol):
    """A loader, positioned at the step to go on from."""

    def __iter__(self) -> Iterator[StepData]: ...


class TrainableModel(Protocol):
    """What the loop asks of a model; it is an ``nn.Module`` besides."""

    def hidden(self, batch: Batch) -> Any:
        """Hidden states of a micro-batch, for `predict`."""

    def predict(self, group: TermGroup, hidden: Any) -> Any:
        """What the head of a group makes of hidden states."""

    def criterion(self, name: str, options: Mapping[str, Any]) -> Criterion:
        """The criterion of that name and options."""

    def loss(self, group: TermGroup, prediction: Any, hidden: Any = None) -> Loss:
        """Losses of a group's items; ``hidden`` is absent where the group spans several micro-batches."""

    def auxiliary(self, batch: Batch, hidden: Any) -> Sequence[tuple[TermGroup, Loss]]:
        """Terms of the model itself, such as the balance of its routers: one item each, not finite without blame."""

    def portable_rows(self, name: str) -> Mapping[str, slice]:
        """Portable name -> rows of the parameter ``name``; a table of tokens has one for each block."""

    def portable_state(self) -> dict[str, Tensor]:
        """Name -> weights, whatever the layout in memory."""

    def load_portable(self, state: Mapping[str, Tensor]) -> Any:
        """Take over what `portable_state` returned."""


Rollout = Callable[[StepData, nn.Module], StepData]
"""The pass before a step, for criteria that need sequences sampled from the model: returns the step's data with those
sequences as targets and a weight for each. Randomness must come from (seed, step, sample) alone."""
