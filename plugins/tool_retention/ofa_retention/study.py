"""What is asked: which tasks, seeds and variants of the generalist, and rows of other sources."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ofacore.plugin import UserError

SPECIALISTS, TEACHERS = "specialists", "teachers"
"""What models of one task are called: those that are compared with, and those that a variant learns from."""
KNOWN_VARIANTS = {"dense": ("model.experts=none",), "experts": ("model.experts=modality",)}
"""Variants that need no settings: one network for all, and one feed-forward expert for each modality."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SETTING = re.compile(r",(?=[A-Za-z_][\w./]*=)")
"""A comma behind which another setting begins; others belong to a value, such as a list."""


@dataclass(frozen=True)
class Variant:
    """A generalist: the recipe, and what differs from it."""

    name: str
    settings: tuple[str, ...] = ()
    """``key=value`` each, over the configuration."""
    taught: float = 0.0
    """Share of teachers in its losses; 0: it has none."""


@dataclass(frozen=True)
class Shift:
    """Rows of another source for a task, which nothing was trained on."""

    task: str
    file: str

    @property
    def label(self) -> str:
        """How the report calls it."""
        return f"{self.task} @ {Path(self.file).name}"


@dataclass(frozen=True)
class Study:
    """One report."""

    source: str
    """A configuration, or a word for a built-in one."""
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    tasks: tuple[str, ...]
    """Empty: all of the configuration."""
    only: str
    """``specialists``, ``generalist``, or empty for both."""
    rows: int
    """Most held-out rows of each task; 0: all."""
    shifts: tuple[Shift, ...]
    out: Path
    keep: bool = False
    """Keep the specialists' checkpoints, not their last weights alone."""
    snapshots: int = 0
    """Checkpoints of each generalist that stay, evenly spread over its run; 0: as configured."""


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a list with commas.

    Raises:
        UserError: It holds something else, or one twice.
    """
    words = [word.strip() for word in text.split(",")]
    wrong = next((word for word in words if not re.fullmatch(r"[0-9]{1,18}", word)), None)
    if wrong is not None:
        raise UserError(f"--seeds {text!r}: {wrong!r} is no seed; write whole numbers: 1,2,3")
    seeds = tuple(int(word) for word in words)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text!r}: a seed stands there twice")
    return seeds


def read_names(text: str) -> tuple[str, ...]:
    """Names from a list with commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def read_variants(given: Sequence[str]) -> tuple[Variant, ...]:
    """Variants from ``name`` or ``name:key=value,...``; without any: those that need no settings.

    Raises:
        UserError: One has no such form, or the name of another.
    """
    if not given:
        return tuple(Variant(name, settings) for name, settings in KNOWN_VARIANTS.items())
    found = [_variant(text) for text in given]
    names = [variant.name for variant in found]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UserError(f"--variant: two are called '{double}'")
    return tuple(found)


def _variant(text: str) -> Variant:
    name, colon, rest = text.partition(":")
    name = name.strip()
    if not _NAME.fullmatch(name) or name in (SPECIALISTS, TEACHERS):
        raise UserError(
            f"--variant {text!r}: '{name}' cannot be its name, which is also a folder's; "
            "write NAME:key=value,key=value"
        )
    if not colon:
        if name not in KNOWN_VARIANTS:
            known = ", ".join(KNOWN_VARIANTS)
            raise UserError(
                f"--variant {name!r} has no settings: write {name}:key=value, or one of {known}"
            )
        return Variant(name, KNOWN_VARIANTS[name])
    settings = tuple(part.strip() for part in _SETTING.split(rest) if part.strip())
    if not settings or not all("=" in setting for setting in settings):
        raise UserError(f"--variant {text!r}: settings are written key=value,key=value")
    shares = [setting for setting in settings if setting.startswith(f"{TEACHERS}=")]
    others = tuple(setting for setting in settings if setting not in shares)
    return Variant(name, others, _share(text, shares))


def _share(text: str, given: Sequence[str]) -> float:
    """The number of ``teachers=0.5``, which is no key of the configuration; 0 without one."""
    if not given:
        return 0.0
    try:
        share = float(given[-1].partition("=")[2])
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"--variant {text!r}: {TEACHERS}= is a share, above 0 and at most 1")
    return share


def read_shifts(given: Sequence[str]) -> tuple[Shift, ...]:
    """Rows of other sources from ``task=file``.

    Raises:
        UserError: One has no such form, or its file is not there.
    """
    found: list[Shift] = []
    for text in given:
        task, equals, file = text.partition("=")
        if not equals or not task.strip() or not file.strip():
            raise UserError(f"--data {text!r}: write task=file")
        shift = Shift(task.strip(), file.strip())
        if not Path(shift.file).exists():
            raise UserError(f"--data {text!r}: there is no file or folder '{shift.file}'")
        if shift.label in [other.label for other in found]:
            raise UserError(f"--data {text!r}: two sources of the task have that file name")
        found.append(shift)
    return tuple(found)
