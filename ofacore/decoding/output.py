"""What inference returns for one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ofacore.encoding.slot_kinds import shown
from ofacore.ground.errors import UserError
from ofacore.plugin import SlotType, suggest
from ofacore.protocols import FileWriting, Preprocessor, RowContext, SlotPlan

_TELLING = ("score", "log_prob", "mean_log_prob", "candidates")


class SaveError(UserError, ValueError):
    """An output cannot be written to a file; names the slot, the file and the reason."""


@dataclass(frozen=True)
class Candidate:
    """One value that a target slot may take."""

    value: Any
    score: float
    """What candidates are ordered by, higher is better: ``log_prob / tokens ** length_penalty`` of an open value, the
    ``log_prob`` itself of a member of a closed set; 0 where the generator has none."""
    log_probs: np.ndarray | None = None
    """float32 [n]: log-probability of each token."""
    log_prob: float | None = None
    """Log-probability of the value under the model: the sum over its tokens and its end, in a closed set among its
    members; None where the generator has none."""
    tokens: int = 0
    """How many tokens ``log_prob`` is the sum of, the end counted."""

    @property
    def mean_log_prob(self) -> float | None:
        """``log_prob`` per token."""
        return None if self.log_prob is None else self.log_prob / max(self.tokens, 1)


@dataclass(frozen=True)
class Field:
    """One target slot of an output: its candidates (a list of them for each turn of a repeat)."""

    slot: SlotPlan
    slot_type: SlotType
    preprocessor: Preprocessor
    turns: tuple[tuple[Candidate, ...], ...]
    repeated: bool = False

    @property
    def value(self) -> Any:
        """The best value; a list of them, one a turn, inside a repeat; None where nothing was generated."""
        values = [turn[0].value for turn in self.turns]
        if self.repeated:
            return values
        return values[0] if values else None


@dataclass(frozen=True, repr=False)
class Output:
    """Values generated for one row.

    ``out["cap"]`` reads a target slot by name, ``out.text`` by the view of its type, ``out.candidates["cap"]`` are all
    candidates that were asked for, ``out.log_prob`` and ``out.mean_log_prob`` tell how likely the best are.
    """

    fields: Mapping[str, Field]
    context: RowContext
    problem: str = ""
    """Why nothing could be generated; empty if all went well."""
    cut: int = 0
    """Turns after which a repeat was cut off (`max_turns`) while the model would have gone on; 0: none was."""
    _views: Mapping[str, Field] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        views: dict[str, Field] = {}
        for entry in self.fields.values():
            for view in entry.slot_type.views:
                views.setdefault(view, entry)
        object.__setattr__(self, "_views", views)

    def __repr__(self) -> str:
        """Values and score, on a line."""
        shown = [f"{name}={value!r}" for name, value in self.values.items()]
        return f"Output({', '.join(shown) or repr(self.problem)}, score={self.score:.4g})"

    def __getitem__(self, name: str) -> Any:
        if name not in self.fields:
            raise KeyError(
                f"no target slot '{name}'. {suggest(name, self.fields) or 'There is: ' + ', '.join(self.fields)}"
            )
        return self.fields[name].value

    def __getattr__(self, name: str) -> Any:
        views = self.__dict__.get("_views", {})
        if name in views:
            return views[name].value
        raise AttributeError(
            f"this output has no '{name}'; it has {', '.join([*views, *_TELLING])}"
        )

    @property
    def values(self) -> dict[str, Any]:
        """Target slot -> value."""
        return {name: entry.value for name, entry in self.fields.items()}

    @property
    def score(self) -> float:
        """Score of the best candidate, by which it was chosen; of several slots and turns their sum."""
        return float(sum(candidate.score for candidate in self._best))

    @property
    def log_prob(self) -> float | None:
        """Log-probability of all that was generated: the best candidates' sum over slots and turns.

        None where a generator tells none, as in diffusion.
        """
        found = [candidate.log_prob for candidate in self._best]
        known = [log_prob for log_prob in found if log_prob is not None]
        return sum(known) if found and len(known) == len(found) else None

    @property
    def mean_log_prob(self) -> float | None:
        """``log_prob`` per token, ends counted."""
        tokens = sum(candidate.tokens for candidate in self._best)
        return None if self.log_prob is None else self.log_prob / max(tokens, 1)

    @property
    def _best(self) -> list[Candidate]:
        return [turn[0] for entry in self.fields.values() for turn in entry.turns]

    @property
    def candidates(self) -> dict[str, list[Candidate]]:
        """Target slot -> candidates, best first (of the first turn inside a repeat)."""
        return {
            name: list(entry.turns[0]) if entry.turns else [] for name, entry in self.fields.items()
        }

    def save(self, path: str | Path, *, slot: str = "", turn: int | None = None) -> Path:
        """Write a target slot in the form that the suffix asks for: ``out.png``, ``out.gif``, ``out.txt``.

        Args:
            path: The file.
            slot: Which slot; default: the last.
            turn: Of a slot inside a repeat: one of its values; default: all.

        Raises:
            SaveError: The slot's type writes no files, or none of this kind, or the place is not writable.
        """
        if not self.fields:
            raise SaveError(
                f"there is nothing to save as '{path}': {self.problem or 'no target slot was generated'}"
            )
        name = slot or list(self.fields)[-1]
        if name not in self.fields:
            hint = suggest(name, self.fields) or f"there are {', '.join(self.fields)}"
            raise SaveError(f"no target slot '{name}' to save as '{path}'; {hint}")
        entry = self.fields[name]
        if not isinstance(entry.preprocessor, FileWriting):
            raise SaveError(f"values of type {entry.slot.type} cannot be saved as a file")
        value = entry.value if turn is None else entry.turns[turn][0].value
        try:
            entry.preprocessor.save(value, self.context, Path(path))
        except (ValueError, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise SaveError(
                f"[{entry.slot.type}:{entry.slot.name}] cannot be saved as '{path}': {reason}"
            ) from error
        return Path(path)

    def html(self) -> str:
        """All values as an HTML fragment."""
        fragments = {
            name: shown(entry.preprocessor, entry.value, entry.slot_type.is_element, self.context)
            for name, entry in self.fields.items()
        }
        return "".join(
            f"<div class='slot'><b>{name}</b> {part}</div>" for name, part in fragments.items()
        )
