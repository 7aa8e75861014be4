"""A command group that knows its commands by name and help alone, and imports the one that is called."""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword
from typing import Any

import typer
from typer.core import TyperGroup

from ofacore.errors import UserError

COMMANDS = {
    "train": "Train a generalist on the tasks of a configuration, or on the starter tasks.",
    "eval": "Score a trained run on its tasks.",
    "infer": "Answer one instruction with a trained run.",
    "explain": "Show what an instruction becomes.",
    "tasks": "Task presets that are installed.",
    "plugins": "Plugins that are installed.",
    "config": "Show or check a configuration, or print its schema.",
    "data": "Fetch starter data, check the rows of a file.",
    "plan-layout": "Propose parallel layouts for a number of GPUs.",
    "checkpoint": "Convert checkpoints between their forms.",
    "import": "Make a run of another project's checkpoint.",
    "export": "Write a run's model for other programs.",
    "doctor": "Report on this machine and installation.",
}
"""Command -> help; the module ``ofa_cli.commands.<command>`` holds its ``app``: hyphens as underscores, an ``_`` behind
a name of Python's."""


class LazyGroup(TyperGroup):
    """The commands of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            from ofacore.plugin import suggest

            raise UserError(f"no command '{cmd_name}'; {suggest(cmd_name, COMMANDS) or 'ofa --help lists them'}")
        module = import_module(f"ofa_cli.commands.{cmd_name.replace('-', '_')}{'_' if iskeyword(cmd_name) else ''}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def command_app() -> typer.Typer:
    """The application of one command, plain in its help like all others."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
