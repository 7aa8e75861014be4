"""Names of a package that is about to be written, checked before anything is."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from ofacore.plugin import PluginError, Registry, UserError, suggest

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SLOT = re.compile(r"[A-Z][A-Z0-9_]*")
LONGEST = 30


@dataclass(frozen=True)
class Names:
    """Everything that is called after the author's NAME."""

    kind: str
    """``modality``, ``task``, ``component``."""
    name: str
    """Name of the plugin, in the form of PEP 503: ``heart-rate``."""

    @property
    def distribution(self) -> str:
        return f"ofa-{self.kind}-{self.name}"

    @property
    def identifier(self) -> str:
        """Name of its components and presets, and end of its package's name: ``heart_rate``."""
        return self.name.replace("-", "_")

    @property
    def package(self) -> str:
        return f"ofa_{self.kind}_{self.identifier}"

    @property
    def title(self) -> str:
        """Beginning of its classes' names: ``HeartRate``."""
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def slot(self) -> str:
        """Its slot type, unless the author chooses another: ``HEART_RATE``."""
        return self.identifier.upper()


def checked_names(kind: str, name: str) -> Names:
    """Names after a valid NAME.

    Raises:
        UserError: It is no name of a plugin; says how it could be written.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        near = re.sub(
            r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
        ).strip("-")
        hint = (
            f"; for instance '{near}'"
            if _NAME.fullmatch(near) and not keyword.iskeyword(near)
            else ""
        )
        raise UserError(
            f"'{name}' is no name for a plugin: small letters, digits and single '-', a letter first{hint}"
        )
    if len(name) > LONGEST:
        raise UserError(f"the name '{name}' has {len(name)} letters; {LONGEST} are the most")
    return Names(kind, name)


def check_slot_name(slot: str) -> None:
    """Make sure that a slot type can be called so.

    Raises:
        UserError: It cannot.
    """
    if not _SLOT.fullmatch(slot):
        near = re.sub(r"[^A-Z0-9]+", "_", slot.upper()).strip("_")
        hint = f"; for instance '{near}'" if _SLOT.fullmatch(near) else ""
        raise UserError(f"'{slot}' is no slot type: capitals, digits and '_', a letter first{hint}")


def check_free(names: Names, offers: Iterable[tuple[str, str]], registry: Registry) -> None:
    """Make sure that nothing that is installed has one of the names.

    Args:
        names: Names of the package.
        offers: (kind, name) of the slot types, components and presets that it will bring.
        registry: What is installed.

    Raises:
        UserError: Something has; names its distribution and what to do.
    """
    for row in registry.rows:
        if row.distribution == names.distribution or (row.kind, row.name) == (
            names.kind,
            names.name,
        ):
            raise UserError(
                f"there is a {row.kind} plugin '{row.name}' already, from {row.distribution}: choose another name"
            )
    for kind, name in offers:
        if name in registry.names(kind):
            what = {"slot": "slot type", "preset": "task preset"}.get(kind, kind)
            way = "; choose another with --slot" if kind == "slot" else ": choose another name"
            raise UserError(
                f"{what} '{name}' is there already, from {_owner(kind, name, registry)}{way}"
            )
    if find_spec(names.package) is not None:
        raise UserError(
            f"there is an importable package '{names.package}' already: choose another name"
        )


def check_choice(what: str, given: str, known: Iterable[str]) -> None:
    """Make sure that a word is one of those known.

    Raises:
        UserError: It is not; says which one may be meant.
    """
    names = list(known)
    if given not in names:
        hint = suggest(given, names)
        raise UserError(
            f"no {what} '{given}'; {hint + ' ' if hint else ''}one of: {', '.join(names)}"
        )


def _owner(kind: str, name: str, registry: Registry) -> str:
    try:
        return registry.owner(kind, name)
    except PluginError:
        return "several plugins"
