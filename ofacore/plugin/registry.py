"""The one place where names become objects: slot types, components of every kind, task presets."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ofacore.plugin.blame import Blamed, owned, who
from ofacore.plugin.conflicts import Index, describe_kind
from ofacore.plugin.discovery import discover_plugins
from ofacore.plugin.first_party import (
    COMPONENT_DISTRIBUTIONS,
    PLAIN_TEXT_DISTRIBUTION,
    SLOT_DISTRIBUTIONS,
)
from ofacore.plugin.guard import built_by, guarded
from ofacore.plugin.kinds import CORE_KINDS, RESERVED
from ofacore.plugin.manifest import (
    Component,
    ComponentManifest,
    Kind,
    Manifest,
    ModalityManifest,
    SlotType,
    TaskManifest,
    TaskPreset,
)
from ofacore.plugin.plugin_errors import (
    ConflictError,
    LoadError,
    PluginError,
    UnknownNameError,
    nearest,
)
from ofacore.plugin.plugin_rows import (
    Announcement,
    Plugin,
    PluginRow,
    describe,
    import_target,
    plugin_of,
)

logger = logging.getLogger("ofacore.plugin")
Prefer = Mapping[str, str]
_NONE: Prefer = MappingProxyType({})


class Registry:
    """Installed plugins and what they offer. Nothing of an implementation is imported before `load`.

    A registry can be pickled: a discovered one travels as its settings and is discovered again on the other side.
    """

    def __init__(
        self, plugins: Iterable[Plugin], prefer: Prefer = _NONE, given: tuple[Manifest, ...] = ()
    ) -> None:
        self._plugins, self._prefer, self._given = (
            tuple(sorted(plugins, key=_order)),
            dict(prefer),
            given,
        )
        self._index = Index(self._plugins, self._prefer)
        self._pins: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._told: set[tuple[str, str]] = set()

    @classmethod
    def discover(cls, prefer: Prefer = _NONE) -> Registry:
        """Everything that is installed.

        Args:
            prefer: Name in conflict -> distribution that wins.

        Raises:
            PluginError: A setting is wrong, or ``OFA_STRICT_PLUGINS=1`` and some plugin is bad.
        """
        registry = cls(discover_plugins(), {**preferred(), **prefer})
        if registry.strict:
            registry._refuse_bad_rows()
        return registry

    @classmethod
    def of(cls, *manifests: Manifest, prefer: Prefer = _NONE) -> Registry:
        """Exactly these manifests; each counts as a distribution of its own name.

        Raises:
            PluginError: One of them cannot be used.
        """
        plugins = [plugin_of(Announcement("", m.name, "", m.name, "0"), m) for m in manifests]
        registry = cls(plugins, prefer, manifests)
        for row in registry.rows:
            if row.status in ("incompatible", "broken"):
                raise PluginError(f"plugin '{row.name}': {row.problem}")
        return registry

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._given, self._prefer, self._pins))

    def pinned(self, options: Mapping[tuple[str, str], Mapping[str, Any]]) -> Registry:
        """The same plugins, whose components have other defaults: those of a configuration or of a finished model.

        Args:
            options: (kind, name) -> options that go before the declared ones, and before those pinned earlier.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._pins = dict(self._pins)
        for key, given in options.items():
            twin._pins[key] = {**twin._pins.get(key, {}), **given}
        return twin

    @property
    def strict(self) -> bool:
        """Whether a bad plugin is an error."""
        return os.environ.get("OFA_STRICT_PLUGINS") == "1"

    @property
    def rows(self) -> tuple[PluginRow, ...]:
        """All plugins, usable or not, sorted by (name, distribution)."""
        return tuple(plugin.row for plugin in self._plugins)

    def slot(self, name: str) -> SlotType:
        """The slot type of that name.

        Raises:
            UnknownNameError: No plugin announces it; the message says what to install.
            ConflictError: Several do.
        """
        if not self._index.has("slot", name):
            raise UnknownNameError(
                "slot type", name, self._index.names("slot"), self._slot_hint(name)
            )
        owner = self._index.owner("slot", name)
        return self._slot_of(owner, self._named("slot", name))

    def slots(self) -> dict[str, SlotType]:
        """All slot types without conflict, by name."""
        return {name: self._slot_of(plugin, name) for name, plugin in self._loadable("slot")}

    def plain_text_slot(self) -> SlotType:
        """The slot type that encodes the plain text of instructions.

        Raises:
            UnknownNameError: None is installed; the message names the distribution.
            ConflictError: Several serve plain text; ``plugins.prefer.plain_text`` decides.
        """
        offers = [
            (plugin, name)
            for plugin in self._plugins
            if plugin.active
            for name in plugin.offer.plain_text
        ]
        if wanted := self._prefer.get("plain_text"):
            offers = [offer for offer in offers if offer[0].row.distribution == wanted] or offers
        if not offers:
            hint = self._install_hint(PLAIN_TEXT_DISTRIBUTION)
            raise UnknownNameError(
                "slot type for plain text", "plain text", self._index.names("slot"), hint
            )
        if len(offers) > 1:
            owners = [plugin.row.distribution for plugin, _ in offers]
            raise ConflictError("plain text", owners, "plain_text")
        return self._slot_of(*offers[0])

    def component(self, kind: str, name: str) -> Component:
        """The component of that kind and name.

        Raises:
            UnknownNameError: No plugin announces it.
            ConflictError: Several do.
        """
        manifest = self._owner(kind, name).load()
        name = self._named(kind, name)
        found = next(
            found for found in manifest.components if (found.kind, found.name) == (kind, name)
        )
        pins = self._pins.get((kind, name))
        return replace(found, options={**found.options, **pins}) if pins else found

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of all components of a kind (or of ``slot``, ``preset``, ``command``), sorted.

        None where no plugin declares the kind.
        """
        return self._index.names(kind)

    def kinds(self) -> dict[str, Kind]:
        """Every kind of component without conflict, by name: the core's and those that plugins declare."""
        declared = {name: _kind_of(plugin, name) for name, plugin in self._loadable("kind")}
        return {**CORE_KINDS, **declared}

    def kind(self, name: str) -> Kind:
        """The kind of component of that name.

        Raises:
            UnknownNameError: Neither the core nor a plugin declares it.
            ConflictError: Several plugins declare it, each with another protocol.
        """
        self._require_kind(name)
        return CORE_KINDS.get(name) or _kind_of(self._index.owner("kind", name), name)

    def load(self, kind: str, name: str) -> Any:
        """Import the implementation of a component.

        Raises:
            UnknownNameError: No plugin announces it.
            ConflictError: Several do.
            LoadError: It cannot be imported; the message names plugin, distribution, target and cause.
        """
        row, target = self._owner(kind, name).row, self.component(kind, name).target
        return import_for(target, row.name, row.distribution, f"{describe_kind(kind)} '{name}'")

    def make(self, kind: str, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """A component that is built as ``cls(options)``, with every option that it declares.

        A transform, of columns or of rows, may be a function: then its options are keywords.

        Args:
            kind: Its kind.
            name: Its name.
            options: What goes before the declared options.

        Raises:
            PluginError: As `load`.
        """
        built, declared = self.load(kind, name), self.component(kind, name).options
        given = {**declared, **(options or {})}
        if kind in ("transform", "row_transform") and not isinstance(built, type):
            return partial(built, **given) if given else built
        owner = who(self, kind, name)
        with built_by(owner):
            return built(given)

    def resolve(self, target: str) -> Any:
        """Import what ``"module:Object"`` names.

        Raises:
            LoadError: It cannot be imported.
        """
        return import_for(target)

    def presets(self) -> dict[str, TaskPreset]:
        """All task presets without conflict, by name."""
        return {name: self._preset_of(plugin, name) for name, plugin in self._loadable("preset")}

    def preset(self, name: str) -> TaskPreset:
        """The task preset of that name.

        Raises:
            UnknownNameError: No plugin announces it.
            ConflictError: Several do.
        """
        owner = self._owner("preset", name)
        return self._preset_of(owner, self._named("preset", name))

    def today(self, kind: str, name: str) -> str:
        """The name of today of what an older version of its plugin called ``name``; other names stay as they are."""
        return self._index.today(kind, name)

    def aliases(self, kind: str) -> dict[str, str]:
        """Old name -> name of today, of slot types, presets or components of a kind."""
        return self._index.aliases(kind)

    def _named(self, kind: str, name: str) -> str:
        """The name of today; that the other one is old is said once."""
        now = self._index.today(kind, name)
        if now != name and (kind, name) not in self._told:
            self._told.add((kind, name))
            row = self._index.owner(kind, name).row
            told = f"{describe_kind(kind)} '{name}' is called '{now}' since a newer version of {row.distribution}"
            logger.warning("%s; write '%s', as the old name will go", told, now)
        return now

    def owner(self, kind: str, name: str) -> str:
        """Distribution of a component; of a slot type or preset with ``kind`` ``slot`` or ``preset``.

        Raises:
            UnknownNameError: No plugin announces it.
            ConflictError: Several do.
        """
        return self._owner(kind, name).row.distribution

    def plugin_of(self, kind: str, name: str) -> PluginRow:
        """Row of the plugin that brings it; as `owner`."""
        return self._owner(kind, name).row

    def find(self, name: str) -> tuple[tuple[PluginRow, Manifest | None], ...]:
        """Rows of all plugins of that name or distribution, with the manifests of those that have a usable one.

        Raises:
            UnknownNameError: There is none.
        """
        plugins = [p for p in self._plugins if name in (p.row.name, p.row.distribution)]
        if not plugins:
            raise UnknownNameError("plugin", name, {p.row.name for p in self._plugins})
        return tuple(
            (p.row, p.load() if p.active and p.row.kind != "hooks" else None) for p in plugins
        )

    def entry_point(self, row: PluginRow) -> str:
        """The ``"module:Object"`` that a plugin was found at; empty where none could be read."""
        return self._plugin_of_row(row).target

    def manifest_of(self, row: PluginRow) -> Manifest | None:
        """The manifest of a plugin; None where it has none that can be used.

        Raises:
            LoadError: It could be imported once and no longer can.
        """
        plugin = self._plugin_of_row(row)
        return plugin.load() if plugin.active and row.kind != "hooks" else None

    def lock(self) -> tuple[tuple[str, str, str], ...]:
        """(name, distribution, version) of every plugin in use; a command is no part of a model."""
        used = [p.row for p in self._plugins if p.active and p.row.kind != "command"]
        return tuple((row.name, row.distribution, row.version) for row in used)

    def hook_targets(self) -> tuple[tuple[PluginRow, str], ...]:
        """Rows of usable plugins of the group ``ofa.hooks`` with their ``"module:Object"``."""
        return tuple((p.row, p.target) for p in self._plugins if p.active and p.row.kind == "hooks")

    def _plugin_of_row(self, row: PluginRow) -> Plugin:
        return next(plugin for plugin in self._plugins if plugin.row == row)

    def _owner(self, kind: str, name: str) -> Plugin:
        if not self._index.has(kind, name):
            if kind not in RESERVED:
                self._require_kind(kind)
            distribution = COMPONENT_DISTRIBUTIONS.get((kind, name))
            hint = self._install_hint(distribution) if distribution else ""
            raise UnknownNameError(describe_kind(kind), name, self._index.names(kind), hint)
        return self._index.owner(kind, name)

    def _require_kind(self, name: str) -> None:
        known = {*CORE_KINDS, *self._index.names("kind")}
        if name not in known:
            raise UnknownNameError(
                "kind of component", name, known, "it is declared by no plugin in use"
            )

    def _loadable(self, kind: str) -> list[tuple[str, Plugin]]:
        """As `Index.decided`, without plugins that could be imported once and no longer can."""
        found = []
        for name, plugin in self._index.decided(kind):
            try:
                plugin.load()
                found.append((name, plugin))
            except LoadError as error:
                if plugin.active:
                    plugin.mark("broken", str(error))
        return found

    @staticmethod
    def _slot_of(plugin: Plugin, name: str) -> SlotType:
        manifest = plugin.load()
        assert isinstance(manifest, ModalityManifest)
        found = next(slot for slot in manifest.slots if slot.name == name)
        return replace(
            found,
            is_element=Blamed(found.is_element, owned(plugin.row, "slot", name), "is_element"),
        )

    @staticmethod
    def _preset_of(plugin: Plugin, name: str) -> TaskPreset:
        manifest = plugin.load()
        assert isinstance(manifest, TaskManifest)
        return next(preset for preset in manifest.presets if preset.name == name)

    def _slot_hint(self, name: str) -> str:
        if name in SLOT_DISTRIBUTIONS:
            return self._install_hint(SLOT_DISTRIBUTIONS[name])
        missing = sorted(set(SLOT_DISTRIBUTIONS) - set(self._index.names("slot")))
        near = nearest(name, [*missing, *self._index.names("slot")])
        return (
            f"for '{near}', {self._install_hint(SLOT_DISTRIBUTIONS[near])}"
            if near in missing
            else ""
        )

    def _install_hint(self, distribution: str) -> str:
        for row in self.rows:
            if row.distribution == distribution:
                return f"{distribution} is installed but {row.status}: {row.problem}"
        return f"pip install {distribution}"

    def _refuse_bad_rows(self) -> None:
        bad = [row for row in self.rows if row.status not in ("ok", "disabled")]
        if bad:
            lines = "\n".join(
                f"  {row.name} ({row.distribution}): {row.status}: {row.problem}" for row in bad
            )
            raise PluginError(f"OFA_STRICT_PLUGINS=1 and these plugins are bad:\n{lines}")


def preferred() -> dict[str, str]:
    """What ``OFA_PREFER`` says: ``name=distribution[,...]``.

    Raises:
        PluginError: An entry has another form.
    """
    found: dict[str, str] = {}
    for entry in filter(None, os.environ.get("OFA_PREFER", "").split(",")):
        name, equals, distribution = (part.strip() for part in entry.partition("="))
        if not (name and equals and distribution):
            raise PluginError(f"OFA_PREFER: '{entry}' is not of the form name=distribution")
        found[name] = distribution
    return found


def _kind_of(plugin: Plugin, name: str) -> Kind:
    manifest = plugin.load()
    assert isinstance(manifest, ComponentManifest)
    return next(kind for kind in manifest.kinds if kind.name == name)


def _order(plugin: Plugin) -> tuple[str, str, str]:
    return plugin.row.name, plugin.row.distribution, plugin.row.kind


def _rebuild(
    given: tuple[Manifest, ...],
    prefer: dict[str, str],
    pins: dict[tuple[str, str], Mapping[str, Any]],
) -> Registry:
    return (Registry.of(*given, prefer=prefer) if given else Registry.discover(prefer)).pinned(pins)


def import_for(target: str, plugin: str = "", distribution: str = "", what: str = "") -> Any:
    """The object of a target.

    Raises:
        LoadError: It cannot be imported; the message names plugin, distribution, target and cause.
    """
    owner = f"plugin '{plugin}' ({distribution})" if plugin else "a plugin"
    try:
        with guarded(target, owner), contextlib.redirect_stdout(sys.stderr):
            return import_target(target)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise LoadError(target, describe(error), plugin, distribution, what) from error
