"""From hidden states to values: decode sessions and generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ofacore.contract.modules import HeadContext
from ofacore.contract.segments import TargetSpec
from ofacore.contract.values import RowContext, SlotPlan
from ofacore.ground.vocabulary import BOS, Vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """One candidate value of a target slot, as produced by a generator."""

    value: np.ndarray
    """int64 [n] vocabulary ids without boundaries, or float32 [n, ...] features."""
    score: float = 0.0
    """What candidates are ordered by, higher is better: ``log_prob / tokens ** length_penalty`` of an open value, the
    ``log_prob`` itself of a member of a closed set; 0 where the generator has none."""
    log_probs: np.ndarray | None = None
    """float32 [n]: log-probability of each token."""
    finished: bool = True
    log_prob: float | None = None
    """Log-probability of the value under the model: the sum over its tokens and its end; None where it has none."""
    tokens: int = 0
    """How many tokens ``log_prob`` is the sum of, the end counted."""


Produced = tuple[Hypothesis, ...]
"""Candidates for one slot of one row, best first."""


class DecodeSession(Protocol):
    """Incremental decoding over R rows. Generators are written against this and nothing else.

    ``pending`` int64 [R] holds the next input token of a running token run; None where a run begins: there
    `ofacore.parts.begin_run` gives it. ``start_ids``, ``end_ids`` and ``room`` may be left out.
    """

    pending: Tensor | None

    @property
    def start_ids(self) -> tuple[int, ...]:
        """Tokens that a run of tokens begins with, in order."""
        return (BOS,)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens besides ``<eos>`` that end a text as it does."""
        return ()

    @property
    def room(self) -> int | None:
        """Tokens that may follow what the next step feeds before the model tells positions no more apart; None: any."""
        return None

    @property
    def rows(self) -> int:
        """Number of rows R."""

    @property
    def device(self) -> torch.device:
        """Where tensors belong."""

    @property
    def length(self) -> int:
        """Positions appended so far, the same number for every row (some may be marked invalid)."""

    @property
    def unconditional(self) -> DecodeSession | None:
        """The same rows with the prompt dropped, where a generator is ``guided``."""

    def step(
        self, features: Mapping[str, Tensor], adapter: str, valid: Tensor | None = None
    ) -> Tensor:
        """Append positions that later ones see; features [R * n, ...] row-major. Returns hidden [R, n, H].

        ``valid`` bool [R, n] marks real positions (left-aligned); others leave no trace.
        """

    def denoise(
        self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> Tensor:
        """Hidden states [sum of lengths, H] of one bidirectional segment for each row, that leaves no trace."""

    def commit(
        self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> None:
        """Append one finished bidirectional segment for each row, that later ones see."""

    def source(self, slot: str = "") -> tuple[Tensor, tuple[int, ...]]:
        """Encoder output [sum of lengths, H] of one slot of each row's source, row by row, and the lengths.

        Args:
            slot: Its name; empty: the first segment of the source. All turns of a repeated slot belong to it.

        Raises:
            ValueError: A row has no source, or no such slot in it.
        """

    def predict(self, head: str, hidden: Tensor, ctx: HeadContext) -> Any:
        """Apply a head of the model to hidden states [m, H]."""

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']; an index may occur several times (beams) or not at all."""

    def begin_segment(self) -> None:
        """Called by the core where another slot begins."""

    def place(self, coordinates: Sequence[np.ndarray | None]) -> None:
        """Called by the core where a segment of tokens with coordinates begins: int64 [n, 3] of each row, or None.

        The positions that follow stand there, one by one, whoever appends them; see `TokenSegment.coordinates`.
        """

    def fork(self) -> DecodeSession:
        """An independent session in the same state: what one does afterwards leaves the other alone."""


@dataclass(frozen=True)
class RowRequest:
    """What a generator is asked for, for one row of the session."""

    slot: SlotPlan
    ctx: RowContext
    spec: TargetSpec
    last: bool = True
    """Last of its run: an open slot ends with ``<eos>``, otherwise with ``<sep>``."""
    final: bool = True
    """Nothing follows in this row: the session may be left in any state."""
    required: tuple[np.ndarray, ...] = ()
    """int64 ids of phrases that the value must contain, where the generator declares ``must_contain``."""


class Generator(Protocol):
    """Produces the values of one target slot for all rows of a session. Built as ``cls(options)`` for every call.

    ``options`` holds every option that its component declares, as the layers have it: the manifest, the configuration
    (of the run, the preset, the task), the call, the last one first. An option that it does not declare is refused
    where it is given. Options that contradict each other are found by the component's ``check``.

    It may have a true attribute ``guided``, of the class or of an instance with such options: then the session has an
    ``unconditional`` twin, for classifier-free guidance. Where it declares an option ``must_contain``, each request
    holds the phrases of that option as ``required`` tokens.
    """

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """Candidates for each row, best first; leaves the session behind the best candidate unless ``final``.

        Random numbers of a row come from its ``ctx.rng``, which is seeded by the option ``seed`` of generation and the
        row's number (`ofacore.parts.row_generators` makes one of torch of it), so that a value depends on neither the
        rows beside it nor the size of a batch; ``generator`` is for what belongs to no row.
        """


@runtime_checkable
class RequestCheck(Protocol):
    """What a `Generator` may offer besides, to refuse what no value can meet; without it nothing is looked at."""

    def check_request(self, request: RowRequest, vocabulary: Vocabulary) -> None:
        """Called before training with one row of a task, and before an answer with the first of its rows.

        Raises:
            ValueError, UserError: The options ask for more than any value can be; says what to change.
        """
