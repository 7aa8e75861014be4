"""Commands of plugins, as ``ofa`` lists and calls them."""

from __future__ import annotations

import inspect
from typing import Any

import typer

from ofacore.ground.printable import printable, shortened
from ofacore.plugin import PluginError
from ofacore.plugin.blame import Blame
from ofacore.plugin.commands import PluginCommands

_COMPLETION = ("install_completion", "show_completion")
"""Options that Typer gives to a program of its own, which a command of ``ofa`` is not."""


def command_lines(group: str = "") -> tuple[dict[str, str], str]:
    """Command -> its line in the help, and what is wrong with the settings about plugins, or nothing."""
    try:
        lines = PluginCommands().lines(group)
    except PluginError as error:
        return {}, printable(str(error))
    return {name: shortened(line) for name, line in lines.items()}, ""


def has_command(name: str) -> bool:
    """Whether a plugin's command of that name is known."""
    return PluginCommands().has(name)


def plugin_command(name: str) -> Any:
    """The command of a plugin, imported now.

    Raises:
        PluginError: There is none of that name, or it cannot be used.
    """
    target, origin = PluginCommands().load(name)
    command = _as_command(target, origin)
    command.name = name.rpartition(" ")[2]
    _blame_when_invoked(command, origin)
    return command


def _as_command(target: Any, origin: str) -> Any:
    app = target
    if inspect.isroutine(target):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command()(target)
    if not isinstance(app, typer.Typer):
        kind = type(target).__name__
        raise PluginError(f"{origin} is of type {kind}, not a Typer application or a function")
    try:
        command = typer.main.get_command(app)
    except Exception as error:
        raise PluginError(f"{origin} cannot be used: {type(error).__name__}: {error}") from error
    command.params = [param for param in command.params if param.name not in _COMPLETION]
    return command


def _blame_when_invoked(command: Any, origin: str) -> None:
    """Whatever the command raises names its plugin."""
    invoke = command.invoke

    def invoke_with_origin(ctx: Any) -> Any:
        with Blame(origin):
            return invoke(ctx)

    command.invoke = invoke_with_origin
