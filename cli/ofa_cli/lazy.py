"""A command group that knows its commands by name and help alone, and imports the one that is called."""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword
from typing import Any

import typer
from typer.core import TyperGroup

from ofacore.plugin.first_party import COMMANDS, WITH_ARGUMENTS


class CutOffError(Exception):
    """A file ends before its data do."""


class LazyGroup(TyperGroup):
    """The commands of ``ofa`` itself, and those of plugins.

    The module ``ofa_cli.commands.<command>`` holds the ``app`` of a command: hyphens as underscores, an ``_`` behind a
    name of Python's.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            CutOffError: In place of `EOFError`, which would be taken for the end of what a user types, and not be told.
        """
        try:
            return super().invoke(ctx)
        except EOFError as error:
            failure = CutOffError(str(error) or "a file ends before its data do")
            for note in getattr(error, "__notes__", ()):
                failure.add_note(note)
            raise failure from error

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            from ofa_cli.plugin_commands import plugin_command

            return plugin_command(cmd_name)
        module = import_module(
            f"ofa_cli.commands.{cmd_name.replace('-', '_')}{'_' if iskeyword(cmd_name) else ''}"
        )
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """A plugin's command of two words comes before the command of ``ofa`` that its first word is."""
        if len(args) > 1 and args[0] in WITH_ARGUMENTS:
            from ofa_cli.plugin_commands import has_command, plugin_command

            name = f"{args[0]} {args[1]}"
            if has_command(name):
                command = plugin_command(name)
                command.name = name
                return name, command, args[2:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        _write_plugin_commands(formatter, "")


class OpenGroup(TyperGroup):
    """A command of ``ofa`` with commands below it: its own, and those of plugins."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands:
            return super().get_command(ctx, cmd_name)
        from ofa_cli.plugin_commands import plugin_command

        return plugin_command(f"{self.name} {cmd_name}")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        super().format_commands(ctx, formatter)
        _write_plugin_commands(formatter, str(self.name))


def _write_plugin_commands(formatter: Any, group: str) -> None:
    from ofa_cli.plugin_commands import command_lines

    lines, problem = command_lines(group)
    if not lines and not problem:
        return
    with formatter.section("Commands of plugins"):
        if lines:
            formatter.write_dl(list(lines.items()))
        if problem:
            formatter.write_text(problem)


def command_app() -> typer.Typer:
    """The application of one command, plain in its help like all others."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


def command_group() -> typer.Typer:
    """The application of a command that has others below it."""
    return typer.Typer(
        cls=OpenGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True
    )
