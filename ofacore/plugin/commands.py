"""Commands that plugins bring to ``ofa``: found by name and one line, imported when they are called."""

from __future__ import annotations

from typing import Any

from ofacore.plugin.blame import who
from ofacore.plugin.discovery import discover_plugins
from ofacore.plugin.first_party import (
    COMMAND_DISTRIBUTIONS,
    COMMANDS,
    SUBCOMMANDS,
    WITH_ARGUMENTS,
)
from ofacore.plugin.manifest import CommandManifest
from ofacore.plugin.plugin_errors import PluginError, suggest
from ofacore.plugin.plugin_rows import Plugin, PluginRow
from ofacore.plugin.registry import Registry, import_for, preferred

_KIND = "command"


class PluginCommands:
    """Everything of the group ``ofa.command``; plugins of other groups are not looked at.

    Raises:
        PluginError: A setting about plugins is wrong.
    """

    def __init__(self) -> None:
        self._plugins = discover_plugins(only=_KIND)
        self._registry = Registry(self._plugins, preferred())

    def lines(self, group: str = "") -> dict[str, str]:
        """Command -> its line in the help of ``ofa``, or of one of its commands; one that cannot be called says so."""
        found: dict[str, str] = {}
        for plugin in self._plugins:
            row = plugin.row
            if row.kind != _KIND or row.status == "disabled" or row.name in COMMANDS:
                continue
            place, _, name = row.name.rpartition(" ")
            if place in WITH_ARGUMENTS:
                place, name = "", row.name  # its own help has arguments to tell, no commands
            if place == group and name not in SUBCOMMANDS.get(group, ()):
                found[name] = _line(plugin)
        return dict(sorted(found.items()))

    def load(self, name: str) -> tuple[Any, str]:
        """The application or function behind a command, and who brings it, in words.

        Raises:
            PluginError: There is no such command, two plugins bring it, or it cannot be imported.
        """
        if name not in self._registry.names(_KIND):
            raise PluginError(self._missing(name))
        row = self._registry.plugin_of(_KIND, name)
        manifest = self._registry.manifest_of(row)
        assert isinstance(manifest, CommandManifest)
        target = import_for(manifest.target, row.name, row.distribution, f"command '{name}'")
        return target, who(self._registry, _KIND, name)

    def has(self, name: str) -> bool:
        """Whether a command of that name is known: installed, in whatever state, or one to install."""
        return name in COMMAND_DISTRIBUTIONS or any(
            row.name == name and row.kind in (_KIND, "") for row in self._registry.rows
        )

    def _missing(self, name: str) -> str:
        for row in self._rows(name):
            return f"command '{name}' of distribution '{row.distribution}' is {row.status}: {row.problem}"
        if distribution := COMMAND_DISTRIBUTIONS.get(name):
            return f"command '{name}' is not installed: pip install {distribution}"
        group = name.rpartition(" ")[0]
        own = [f"{group} {below}" for below in SUBCOMMANDS.get(group, ())] if group else COMMANDS
        known = {*own, *self._registry.names(_KIND), *COMMAND_DISTRIBUTIONS}
        listing = f"ofa {group} --help" if group else "ofa --help"
        return f"no command '{name}'; {suggest(name, known) or f'{listing} lists them'}"

    def _rows(self, name: str) -> list[PluginRow]:
        """Plugins of that name that have no command to call; a development entry may be one of any kind."""
        rows = [row for row in self._registry.rows if row.name == name and row.kind in (_KIND, "")]
        return [row for row in rows if row.status != "ok"]


def _line(plugin: Plugin) -> str:
    row = plugin.row
    if row.status != "ok":
        return f"({row.status}: 'ofa plugins list' says why)"
    doc = dict(plugin.offer.commands)[row.name]
    return f"{doc} ({row.distribution})" if doc else f"({row.distribution})"
