"""What is known about a plugin without importing what it describes."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, get_args

from ofacore.plugin.first_party import SUBCOMMANDS, WITH_ARGUMENTS
from ofacore.plugin.guard import guarded
from ofacore.plugin.kinds import CORE_KINDS, RESERVED
from ofacore.plugin.manifest import (
    CONTRACT,
    CommandManifest,
    Component,
    ComponentManifest,
    Kind,
    Manifest,
    ModalityManifest,
    TaskManifest,
    Widget,
)
from ofacore.plugin.plugin_errors import LoadError, PluginError

Status = Literal["ok", "disabled", "incompatible", "broken", "conflict"]

GROUPS = {
    "ofa.modality": "modality",
    "ofa.task": "task",
    "ofa.component": "component",
    "ofa.command": "command",
    "ofa.hooks": "hooks",
}
"""Entry-point group -> kind of plugin."""

_MANIFESTS: dict[str, type] = {
    "modality": ModalityManifest,
    "task": TaskManifest,
    "component": ComponentManifest,
    "command": CommandManifest,
}
_SLOT_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_KIND_NAME = re.compile(r"[a-z][a-z0-9_]*")
_WORD = "[a-z][a-z0-9]*(-[a-z0-9]+)*"
_COMMAND_NAME = re.compile(f"({_WORD} )?{_WORD}")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Announcement:
    """One entry point."""

    kind: str
    """``modality``, ``task``, ``component``, ``command``, ``hooks``; empty where only the manifest can tell."""
    name: str
    target: str
    """``"module:Object"``."""
    distribution: str
    version: str


@dataclass(frozen=True)
class PluginRow:
    """One line of ``ofa plugins list``."""

    name: str
    distribution: str
    version: str
    contract: str
    """``"1.0"``; empty where unknown."""
    status: Status
    problem: str
    """What is wrong and what to do about it; empty if nothing."""
    kind: str
    slots: tuple[str, ...] = ()


@dataclass(frozen=True)
class Offer:
    """Names of everything that a manifest brings."""

    slots: tuple[str, ...] = ()
    components: tuple[tuple[str, str], ...] = ()
    """(kind, name)."""
    presets: tuple[str, ...] = ()
    plain_text: tuple[str, ...] = ()
    """Slot types that serve plain text."""
    kinds: tuple[tuple[str, str], ...] = ()
    """(name, protocol) of the kinds of components that it declares."""
    commands: tuple[tuple[str, str], ...] = ()
    """(name, doc)."""
    aliases: tuple[tuple[str, str, str], ...] = ()
    """(kind, old name, name of today) of slot types, components and presets."""

    def keys(self) -> tuple[tuple[str, str], ...]:
        """(kind, name) of everything.

        What is no component has one of the kinds ``slot``, ``preset``, ``kind`` and ``command``.
        """
        slots = tuple(("slot", name) for name in self.slots)
        presets = tuple(("preset", name) for name in self.presets)
        kinds = tuple(("kind", name) for name, _ in self.kinds)
        commands = tuple(("command", name) for name, _ in self.commands)
        return slots + presets + kinds + commands + self.components


@dataclass
class Plugin:
    """A row with its offer; the manifest itself is imported when something of it is needed."""

    row: PluginRow
    target: str = ""
    offer: Offer = field(default_factory=Offer)
    manifest: Manifest | None = None

    @property
    def active(self) -> bool:
        return self.row.status in ("ok", "conflict")

    def mark(self, status: Status, problem: str) -> None:
        """Give the row another status; problems add up."""
        problem = "; ".join(part for part in (self.row.problem, problem) if part)
        self.row = replace(self.row, status=status, problem=problem)

    def load(self) -> Manifest:
        """The manifest.

        Raises:
            LoadError: It was importable once and no longer is.
        """
        if self.manifest is None:
            try:
                owner = f"plugin '{self.row.name}' ({self.row.distribution})"
                with guarded(self.target, owner), contextlib.redirect_stdout(sys.stderr):
                    self.manifest = import_target(self.target)  # type: ignore[assignment]
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                raise LoadError(
                    self.target,
                    describe(error),
                    self.row.name,
                    self.row.distribution,
                    "the manifest",
                ) from error
        assert self.manifest is not None
        return self.manifest


def import_target(target: str) -> object:
    """The object that ``"module:Object"`` names; anything that its import raises passes through."""
    module, _, path = target.partition(":")
    found: object = importlib.import_module(module)
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found


def describe(error: BaseException) -> str:
    """``ImportError: no module named x``, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def plugin_of(announcement: Announcement, manifest: object) -> Plugin:
    """Check a manifest and make its row, ``ok`` or ``incompatible``.

    Raises:
        PluginError: The object is no usable manifest.
    """
    kind = _kind(announcement, manifest)
    contract = getattr(manifest, "contract", None)
    numbers = (
        isinstance(contract, tuple)
        and len(contract) == 2
        and all(type(part) is int for part in contract)
    )
    if contract is None or not numbers:
        raise PluginError(f"its contract version is {contract!r}, not a pair such as {CONTRACT}")
    problem = contract_problem(contract, announcement.distribution)
    offer = Offer() if problem else offer_of(manifest)  # type: ignore[arg-type]
    if offer.commands and offer.commands[0][0] != announcement.name:
        name = offer.commands[0][0]
        raise PluginError(
            f"its entry point is called '{announcement.name}', its command '{name}': give both one name"
        )
    return from_offer(replace(announcement, kind=kind), contract, offer, manifest)  # type: ignore[arg-type]


def from_offer(
    announcement: Announcement,
    contract: tuple[int, int],
    offer: Offer,
    manifest: Manifest | None = None,
) -> Plugin:
    """The plugin whose contract and offer are known already."""
    problem = contract_problem(contract, announcement.distribution)
    status: Status = "incompatible" if problem else "ok"
    row = PluginRow(
        announcement.name,
        announcement.distribution,
        announcement.version,
        f"{contract[0]}.{contract[1]}",
        status,
        problem,
        announcement.kind,
        offer.slots,
    )
    return Plugin(row, announcement.target, offer, manifest)


def without_manifest(announcement: Announcement, status: Status, problem: str = "") -> Plugin:
    """The plugin whose manifest was not read, or that has none."""
    row = PluginRow(
        announcement.name,
        announcement.distribution,
        announcement.version,
        "",
        status,
        problem,
        announcement.kind,
    )
    return Plugin(row, announcement.target)


def contract_problem(contract: tuple[int, int], distribution: str) -> str:
    """Why a plugin of this contract cannot run here and which side to upgrade; empty if it can."""
    if contract[0] == CONTRACT[0] and contract[1] <= CONTRACT[1]:
        return ""
    written, offered = (f"{major}.{minor}" for major, minor in (contract, CONTRACT))
    newer = "ofacore" if contract > CONTRACT else distribution
    return (
        f"written for contract {written}, this core offers {offered}: pip install --upgrade {newer}"
    )


def offer_of(manifest: Manifest) -> Offer:
    """Everything that a manifest brings, by name.

    Raises:
        PluginError: A name or target is malformed or given twice.
    """
    _check_tuples(manifest, "its manifest")
    slots = manifest.slots if isinstance(manifest, ModalityManifest) else ()
    presets = manifest.presets if isinstance(manifest, TaskManifest) else ()
    for slot in slots:
        if not _SLOT_NAME.fullmatch(slot.name):
            raise PluginError(f"slot type '{slot.name}' is no name in capitals such as 'TYPE_2'")
        if slot.widget not in get_args(Widget):
            known = ", ".join(get_args(Widget))
            raise PluginError(
                f"slot type '{slot.name}' has widget {slot.widget!r:.60}; one of: {known}"
            )
        if slot.parse and not _TARGET.fullmatch(slot.parse):
            raise PluginError(
                f"slot type '{slot.name}' has parse '{slot.parse}', not 'package.module:function'"
            )
    offer = Offer(
        _unique("slot type", (slot.name for slot in slots)),
        tuple((component.kind, component.name) for component in manifest.components),
        _unique("preset", (preset.name for preset in presets)),
        tuple(slot.name for slot in slots if slot.serves_plain_text),
        _declared_kinds(manifest),
        _commands(manifest),
        _aliases(manifest),
    )
    _unique("component", (f"{kind}/{name}" for kind, name in offer.components))
    _check_targets(manifest.components)
    return offer


def _check_tuples(part: Any, called: str) -> None:
    """What holds several things is a tuple; a comma is easily forgotten: ``("one")`` is a text, read letter by letter.

    Raises:
        PluginError: It is something else.
    """
    for each in fields(part):
        value = getattr(part, each.name)
        if not str(each.type).startswith("tuple["):
            continue
        if not isinstance(value, tuple | list):
            raise PluginError(
                f"{called} has {each.name} {value!r:.60}, which is no tuple: write {each.name}=(..., ) with a comma"
            )
        for inner in filter(is_dataclass, value):
            _check_tuples(inner, f"{type(inner).__name__} '{getattr(inner, 'name', '')}'")


def _aliases(manifest: Manifest) -> tuple[tuple[str, str, str], ...]:
    """Old names, none of them a name of today in the same manifest.

    Raises:
        PluginError: One is given twice, or still in use.
    """
    named = [
        (component.kind, component.name, component.aliases) for component in manifest.components
    ]
    if isinstance(manifest, ModalityManifest):
        named += [("slot", slot.name, slot.aliases) for slot in manifest.slots]
    if isinstance(manifest, TaskManifest):
        named += [("preset", preset.name, preset.aliases) for preset in manifest.presets]
    found = [(kind, old, name) for kind, name, aliases in named for old in aliases]
    live = [f"{kind}/{name}" for kind, name, _ in named]
    _unique("name or alias", [*live, *(f"{kind}/{old}" for kind, old, _ in found)])
    return tuple(found)


def _kind(announcement: Announcement, manifest: object) -> str:
    kind = next((kind for kind, cls in _MANIFESTS.items() if isinstance(manifest, cls)), "")
    if not kind:
        way_out = (
            ": announce a CommandManifest whose target it is"
            if announcement.kind == "command"
            else ""
        )
        raise PluginError(
            f"'{announcement.target}' is a {type(manifest).__name__}, not a manifest{way_out}"
        )
    if announcement.kind and announcement.kind != kind:
        group = f"group ofa.{kind}, not ofa.{announcement.kind}"
        raise PluginError(f"'{announcement.target}' is a {kind} manifest: announce it in {group}")
    return kind


def _unique(what: str, names: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        if name in found:
            raise PluginError(f"its manifest gives {what} '{name}' twice")
        found.append(name)
    return tuple(found)


def _check_targets(components: Iterable[Component]) -> None:
    for component in components:
        if not _TARGET.fullmatch(component.target):
            raise PluginError(
                f"{component.kind} '{component.name}' has target '{component.target}', not 'package.module:Object'"
            )
        for what in ("check", "settings"):
            target = getattr(component, what)
            if target and not _TARGET.fullmatch(target):
                raise PluginError(
                    f"{component.kind} '{component.name}' has {what} '{target}', not 'package.module:function'"
                )


def _declared_kinds(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    kinds = manifest.kinds if isinstance(manifest, ComponentManifest) else ()
    for kind in kinds:
        _check_kind(kind)
    _unique("kind of component", (kind.name for kind in kinds))
    return tuple((kind.name, kind.protocol) for kind in kinds)


def _check_kind(kind: object) -> None:
    if not isinstance(kind, Kind):
        raise PluginError(f"its kinds hold {kind!r:.60}, which is no Kind(name, protocol, doc)")
    if not _KIND_NAME.fullmatch(str(kind.name)):
        raise PluginError(f"kind '{kind.name}' is no name in small letters such as 'kind_2'")
    if kind.name in CORE_KINDS or kind.name in RESERVED:
        raise PluginError(f"kind '{kind.name}' is a word of the core's own: choose another name")
    if not _TARGET.fullmatch(str(kind.protocol)):
        raise PluginError(
            f"kind '{kind.name}' has protocol '{kind.protocol}', not 'package.module:Protocol'"
        )


def _commands(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    if not isinstance(manifest, CommandManifest):
        return ()
    name, target, doc = manifest.name, manifest.target, manifest.doc
    if not _COMMAND_NAME.fullmatch(str(name)):
        raise PluginError(
            f"command '{name}' is no name in small letters with hyphens such as 'tidy-up' or "
            f"'data tidy-up'"
        )
    group = str(name).rpartition(" ")[0]
    if group and group not in SUBCOMMANDS and group not in WITH_ARGUMENTS:
        raise PluginError(
            f"command '{name}': 'ofa {group}' has no commands below it; "
            f"those that have some: {', '.join(SUBCOMMANDS)}"
        )
    if not _TARGET.fullmatch(str(target)):
        raise PluginError(f"command '{name}' has target '{target}', not 'package.module:app'")
    return ((name, " ".join(str(doc).split())),)
