"""What inference returns for one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ofacore.data.kinds import shown
from ofacore.errors import UserError
from ofacore.plugin import SlotType, suggest
from ofacore.protocols import Preprocessor, RowContext, SlotPlan


class SaveError(UserError, ValueError):
    """An output cannot be written to a file; names the slot, the file and the reason."""


@dataclass(frozen=True)
class Candidate:
    """One value that a target slot may take."""

    value: Any
    score: float
    """Log-probability, length-normalised by the search; 0 where the generator has none."""
    log_probs: np.ndarray | None = None
    """float32 [n]: log-probability of each token."""


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
        return values if self.repeated else (values[0] if values else None)


@dataclass(frozen=True, repr=False)
class Output:
    """Values generated for one row.

    ``out["cap"]`` reads a target slot by name, ``out.text`` by the view of its type, ``out.score`` is the best
    candidates' score, ``out.candidates["cap"]`` all that were asked for.
    """

    fields: Mapping[str, Field]
    context: RowContext
    problem: str = ""
    """Why nothing could be generated; empty if all went well."""
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
        raise AttributeError(f"this output has no '{name}'; it has {', '.join([*views, 'score', 'candidates'])}")

    @property
    def values(self) -> dict[str, Any]:
        """Target slot -> value."""
        return {name: entry.value for name, entry in self.fields.items()}

    @property
    def score(self) -> float:
        """Sum of the best candidates' scores over all slots and turns."""
        return float(sum(turn[0].score for entry in self.fields.values() for turn in entry.turns))

    @property
    def candidates(self) -> dict[str, list[Candidate]]:
        """Target slot -> candidates, best first (of the first turn inside a repeat)."""
        return {name: list(entry.turns[0]) if entry.turns else [] for name, entry in self.fields.items()}

    def save(self, path: str | Path) -> Path:
        """Write the last target slot in the form that the suffix asks for: ``out.png``, ``out.gif``, ``out.txt``.

        Raises:
            SaveError: The slot's type writes no files, or none of this kind, or the place is not writable.
        """
        if not self.fields:
            raise SaveError(f"there is nothing to save as '{path}': {self.problem or 'no target slot was generated'}")
        entry = list(self.fields.values())[-1]
        writer = getattr(entry.preprocessor, "save", None)
        if writer is None:
            raise SaveError(f"values of type {entry.slot.type} cannot be saved as a file")
        try:
            writer(entry.value, self.context, Path(path))
        except (ValueError, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise SaveError(f"[{entry.slot.type}:{entry.slot.name}] cannot be saved as '{path}': {reason}") from error
        return Path(path)

    def html(self) -> str:
        """All values as an HTML fragment."""
        fragments = {
            name: shown(entry.preprocessor, entry.value, entry.slot_type.is_element, self.context)
            for name, entry in self.fields.items()
        }
        return "".join(f"<div class='slot'><b>{name}</b> {part}</div>" for name, part in fragments.items())
