"""What can be wrong with a checkpoint, in words a user can act on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ofacore.ground.errors import UserError
from ofacore.ground.printable import shortened

SHOWN = 8
"""Names listed in a message; the rest is counted."""


class CheckpointError(UserError):
    """A checkpoint cannot be read or does not fit: names the file and the tensors.

    Attributes:
        path: File or folder.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: {reason}")


def listed(names: list[str]) -> str:
    """At most `SHOWN` names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shortened(name) for name in names[:SHOWN]) + more


def check_fit(path: Path, stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Compare names and shapes of stored tensors with those of the model.

    Raises:
        CheckpointError: Lists what is missing, what is unexpected, and both shapes where they differ.
    """
    missing = sorted(set(wanted) - set(stored))
    unexpected = sorted(set(stored) - set(wanted))
    shapes = [
        f"{name}: stored {list(stored[name].shape)}, model {list(wanted[name].shape)}"
        for name in sorted(set(stored) & set(wanted))
        if stored[name].shape != wanted[name].shape
    ]
    found = {"missing": missing, "unexpected": unexpected, "different shape": shapes}
    problems = [f"{title}: {listed(names)}" for title, names in found.items() if names]
    if problems:
        raise CheckpointError(path, "does not fit the model; " + "; ".join(problems))
