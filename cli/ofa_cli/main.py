"""The command ``ofa``: global options, errors, exit codes. Each command is a module, imported when it is called.

Exit codes: 0 done, 1 failure of the system, 2 something the user gave is wrong.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from ofa_cli.failures import is_user_error
from ofa_cli.lazy import LazyGroup
from ofa_cli.output import guard_logs
from ofa_cli.ranks import end_group_member, tell
from ofa_cli.unquoted import check_quotes
from ofacore.ground.printable import escaped

GLOBAL_FLAGS = ("--debug", "--no-plugins")

app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        import ofacore

        typer.echo(ofacore.__version__)
        raise typer.Exit


def _use_no_plugins(wanted: bool) -> None:
    """Before the help is printed or the command is looked for: both may ask plugins."""
    if wanted:
        os.environ["OFA_PLUGINS"] = ""


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_plugins: Annotated[
        bool,
        typer.Option(
            "--no-plugins",
            is_eager=True,
            callback=_use_no_plugins,
            help="Use the core's own components only.",
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """One line declares a task; many tasks, of any modality, train one model."""


def _limit_spinning() -> None:
    """Threads of torch that wait for one another go to sleep soon, unless the environment says how they shall wait.

    By default they spin for long, each on a core that another program may need: on two cores with two other
    programs a step took 35 times as long. It is read when torch is imported, so it is set before.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    if arguments is None:
        arguments = sys.argv[1:]
    given = list(arguments)
    debug = "--debug" in given
    guard_logs()
    _limit_spinning()
    try:
        check_quotes(given)
        typer.main.get_command(app).main(_no_options(_flags_first(given)), prog_name="ofa")
    except Exception as error:
        if debug:
            print(escaped(traceback.format_exc()), file=sys.stderr)
        tell(error, sys.stderr)
        code = 2 if is_user_error(error) else 1
        end_group_member(code)
        sys.exit(code)


def _flags_first(given: list[str]) -> list[str]:
    """Global flags may stand anywhere before ``--``."""
    end = given.index("--") if "--" in given else len(given)
    flags = [argument for argument in given[:end] if argument in GLOBAL_FLAGS]
    return (
        flags + [argument for argument in given[:end] if argument not in GLOBAL_FLAGS] + given[end:]
    )


def _no_options(given: list[str]) -> list[str]:
    """An instruction without a source begins like an option; a blank in front, which means nothing, tells it apart."""
    end = given.index("--") if "--" in given else len(given)
    return [f" {word}" if word.startswith("->") else word for word in given[:end]] + given[end:]


if __name__ == "__main__":
    main()
