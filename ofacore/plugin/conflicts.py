"""Who owns which name, and what happens where two plugins announce the same one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from ofacore.plugin.first_party import COMMANDS, SUBCOMMANDS
from ofacore.plugin.kinds import CORE_KINDS
from ofacore.plugin.plugin_errors import ConflictError, UnknownNameError, conflict_text
from ofacore.plugin.plugin_rows import Plugin


class Index:
    """(kind, name) -> the plugins that announce it, with the user's preferences applied.

    Building it marks the rows of plugins in conflict.

    Args:
        plugins: All plugins.
        prefer: Slot type, component, ``kind/component``, preset or plugin name -> distribution that wins.
    """

    def __init__(self, plugins: Iterable[Plugin], prefer: Mapping[str, str]) -> None:
        self._prefer = prefer
        active = [plugin for plugin in plugins if plugin.active]
        self._mark_equal_names(active)
        self._mark_unknown_kinds(active)
        self._owners: dict[tuple[str, str], list[Plugin]] = {}
        for plugin in active:
            old = tuple((kind, alias) for kind, alias, _ in plugin.offer.aliases)
            for key in plugin.offer.keys() + old if plugin.active else ():
                self._owners.setdefault(key, []).append(plugin)
        self._owners = {key: self._decide(key, owners) for key, owners in self._owners.items()}
        self._owners = {key: owners for key, owners in self._owners.items() if owners}

    def has(self, kind: str, name: str) -> bool:
        return (kind, name) in self._owners

    def names(self, kind: str) -> tuple[str, ...]:
        """All names of a kind, sorted; without those of older versions."""
        return tuple(
            sorted(
                name
                for known, name in self._owners
                if known == kind and self.today(kind, name) == name
            )
        )

    def today(self, kind: str, name: str) -> str:
        """What is called so, or was in an older version: its name of today; a name that nobody knows stays as it is."""
        owners = self._owners.get((kind, name), [])
        if len(owners) != 1:
            return name
        return next(
            (new for known, old, new in owners[0].offer.aliases if (known, old) == (kind, name)),
            name,
        )

    def aliases(self, kind: str) -> dict[str, str]:
        """Old name -> name of today."""
        return {
            name: new
            for known, name in self._owners
            if known == kind and (new := self.today(kind, name)) != name
        }

    def owner(self, kind: str, name: str) -> Plugin:
        """The plugin that brings a name that is there.

        Raises:
            ConflictError: Several do and no setting decides.
        """
        owners = self._owners[kind, name]
        if len(owners) > 1:
            raise ConflictError(_what(kind, name), _distributions(owners), _setting(kind, name))
        return owners[0]

    def decided(self, kind: str) -> list[tuple[str, Plugin]]:
        """(name, plugin) of every name of a kind that is not in conflict."""
        return [
            (name, self._owners[kind, name][0])
            for name in self.names(kind)
            if len(self._owners[kind, name]) == 1
        ]

    def _mark_equal_names(self, active: list[Plugin]) -> None:
        def key(plugin: Plugin) -> tuple[str, str]:
            return plugin.row.kind, plugin.row.name

        for (kind, name), group in groupby(sorted(active, key=key), key):
            owners = list(group)
            if (
                len(owners) < 2 or kind == "command"
            ):  # its name is what it offers: `_decide` tells that
                continue
            winners = self._winners(owners, name)
            for plugin in owners:
                if not winners:
                    what = f"{kind} plugin '{name}'"
                    plugin.mark("conflict", conflict_text(what, _distributions(owners), name))
                elif plugin not in winners:
                    plugin.mark(
                        "disabled", f"plugins.prefer.{name} chooses {winners[0].row.distribution}"
                    )

    def _mark_unknown_kinds(self, active: list[Plugin]) -> None:
        """Plugins with a component whose kind nobody declares are broken, and with them the kinds that they declare."""
        while True:
            known = {
                *CORE_KINDS,
                *(name for plugin in active if plugin.active for name, _ in plugin.offer.kinds),
            }
            lost = [
                (plugin, unknown)
                for plugin in active
                if plugin.active and (unknown := _unknown(plugin, known))
            ]
            if not lost:
                return
            for plugin, (kind, name) in lost:
                error = UnknownNameError(
                    "kind of component", kind, known, _kind_advice(kind, active)
                )
                plugin.mark("broken", f"its component '{kind}/{name}': {error}")

    def _decide(self, key: tuple[str, str], owners: list[Plugin]) -> list[Plugin]:
        kind, name = key
        if kind == "command" and _is_own(name):
            for plugin in owners:
                plugin.mark(
                    "conflict",
                    f"'ofa {name}' is a command of ofa's own, which always wins: rename yours",
                )
            return []
        if len(owners) < 2:
            return owners
        if kind == "kind" and len({dict(plugin.offer.kinds)[name] for plugin in owners}) == 1:
            return owners[:1]
        if winners := self._winners(owners, f"{kind}/{name}") or self._winners(owners, name):
            for plugin in owners if kind == "command" else ():
                if plugin not in winners:
                    plugin.mark(
                        "disabled",
                        f"command/{name} of OFA_PREFER chooses {winners[0].row.distribution}",
                    )
            return winners
        for plugin in owners:
            plugin.mark(
                "conflict",
                conflict_text(_what(kind, name), _distributions(owners), _setting(kind, name)),
            )
        return owners

    def _winners(self, owners: list[Plugin], setting: str) -> list[Plugin]:
        wanted = self._prefer.get(setting)
        return [plugin for plugin in owners if plugin.row.distribution == wanted][:1]


def describe_kind(kind: str) -> str:
    """A kind in words."""
    words = {"slot": "slot type", "preset": "task preset", "kind": "kind of component"}
    return words.get(kind, kind)


def _is_own(command: str) -> bool:
    """``ofa`` itself has a command of this name."""
    group, _, name = command.rpartition(" ")
    return command in COMMANDS or name in SUBCOMMANDS.get(group, ())


def _unknown(plugin: Plugin, known: set[str]) -> tuple[str, str] | None:
    """(kind, name) of its first component whose kind is not known."""
    return next(((kind, name) for kind, name in plugin.offer.components if kind not in known), None)


def _kind_advice(kind: str, plugins: list[Plugin]) -> str:
    for plugin in plugins:
        if kind in dict(plugin.offer.kinds):
            return f"'{plugin.row.distribution}', which declares it, is {plugin.row.status}"
    return "install or enable the plugin that declares it, or declare it with Kind"


def _what(kind: str, name: str) -> str:
    return f"{describe_kind(kind)} '{name}'"


def _setting(kind: str, name: str) -> str:
    return name if kind in ("slot", "preset") else f"{kind}/{name}"


def _distributions(owners: list[Plugin]) -> list[str]:
    return [plugin.row.distribution for plugin in owners]
