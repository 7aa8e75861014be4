"""From values to scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol


class Metric(Protocol):
    """Built as ``cls(options)``. Mergeable: ``merge`` of parts equals one pass over everything.

    References, candidates and the columns of target slots in ``rows`` come as their slots take them, never raw (see
    `AsDecoded`, `AsCompared`); a reference is a list where the row gives several, of which any will do. Rows without
    one are not given. ``needs``, ``candidates``, ``redrawn`` and ``reference_column`` may be left out.
    """

    higher_is_better: ClassVar[bool]
    needs: Literal["", "log_probs", "candidates", "embeddings"] = ""
    """What predictions are, said by the class: decoded values; with ``log_probs`` the log-probabilities of the tokens
    of each reference; with ``candidates`` the log-probability of each value in a list that the row holds; with
    ``embeddings``, on one side of a contrast, the vectors of that side, float32 [size]: references are those of the
    other side."""
    candidates: str = ""
    """Column of that list; an instance has it where ``needs`` is ``candidates``."""
    redrawn: bool = True
    """Whether a score that is no mean has an interval, from drawing rows again with some of them repeated; False where
    repeated rows mislead, as in distances of distributions."""
    reference_column: str = ""
    """Another column of references; empty: what the task says."""

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add decoded predictions and their references.

        ``rows`` hold all columns, and what was generated for other target slots as ``predicted:<slot>``. A row whose
        reference makes this raise, whatever is predicted, is left out and named.
        """

    def compute(self) -> dict[str, float]:
        """Name -> value; the first name is the score."""

    def merge(self, other: Any) -> None:
        """Add what another instance has seen."""

    def items(self) -> Sequence[float]:
        """One number per sample, for bootstrap intervals; empty where the metric does not decompose."""


@dataclass(frozen=True)
class BaselineTask:
    """One target slot of a task, as a quick method gets it. Its length is the number of training rows."""

    train: Sequence[Mapping[str, Any]]
    """Inputs of the training rows: source slot -> a text, a number, or a float32 array [n], of one size in all rows."""
    targets: Sequence[Any]
    """Values of the target slot of the training rows, as the data have them; of a repeated slot lists."""
    test: Sequence[Mapping[str, Any]]
    """Inputs of the rows that are to be answered; a slot may be missing."""
    types: Mapping[str, str]
    """Source slot -> its type."""
    closed: bool = False
    """The target is one of a closed set."""

    def __len__(self) -> int:
        return len(self.train)

    def some(self, places: Sequence[int]) -> BaselineTask:
        """The same with some of the training rows."""
        return replace(
            self,
            train=[self.train[place] for place in places],
            targets=[self.targets[place] for place in places],
        )


@dataclass(frozen=True)
class BaselineAnswers:
    """What a quick method answers."""

    name: str
    """The method in a few words: ``tf-idf + logistic regression``."""
    values: Sequence[Any]
    """One for each row, as the data would have it."""


@dataclass(frozen=True)
class ContrastTask:
    """The two sides of a contrast, as a quick method gets them. Its length is the number of training rows.

    Inputs are those of `BaselineTask`: slot -> a text, a number, or a float32 array [n], of one size in all rows.
    """

    left: Sequence[Mapping[str, Any]]
    """Of the training rows."""
    right: Sequence[Mapping[str, Any]]
    """Their partners."""
    test_left: Sequence[Mapping[str, Any]]
    """Of the rows that are to be embedded."""
    test_right: Sequence[Mapping[str, Any]]
    """Their partners, which no method may use to embed the left side."""
    types: Mapping[str, str]
    """Slot -> its type."""

    def __len__(self) -> int:
        return len(self.left)

    def some(self, places: Sequence[int]) -> ContrastTask:
        """The same with some of the training rows."""
        return replace(
            self,
            left=[self.left[place] for place in places],
            right=[self.right[place] for place in places],
        )


@dataclass(frozen=True)
class ContrastAnswers:
    """Vectors by which a quick method finds partners: those of a row and of its partner have a large product."""

    name: str
    """The method in a few words: ``image + nearest neighbour``."""
    left: Sequence[Any]
    """float32 [size] for each row."""
    right: Sequence[Any]
    """Likewise, of the partners."""


class Baseline(Protocol):
    """A quick method that a score is compared with. Built as ``cls(options)``."""

    def __call__(self, task: BaselineTask) -> BaselineAnswers | None:
        """Learn from the training rows, and answer the others; None where the method does not apply."""


class ContrastBaseline(Protocol):
    """A quick method for contrasts, a `Baseline` whose class says ``embeds = True``."""

    embeds: ClassVar[Literal[True]] = True

    def __call__(self, task: ContrastTask) -> ContrastAnswers | None:
        """Learn from the training rows, and embed the others; None where the method does not apply."""
