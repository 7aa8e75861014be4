"""``ofa config show | check | schema``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.lazy import command_group
from ofa_cli.output import print_json

app = command_group()

Sources = Annotated[
    list[str] | None, typer.Argument(help="YAML files, later ones win; or 'starter'.")
]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Set a key: train.steps=100.")]


@app.callback()
def group() -> None:
    """Show or check a configuration, or print its schema."""


@app.command()
def show(
    sources: Sources = None,
    overrides: Overrides = None,
    defaults: Annotated[bool, typer.Option(help="Fill in the defaults.")] = True,
) -> None:
    """The configuration as YAML that can be read back, with the options of every component that it names."""
    from ofacore.config import load
    from ofacore.config import show as as_yaml

    config = load(sources or [], overrides or [])
    if defaults:
        from ofacore.plan.resolved_options import options_of_run
        from ofacore.plugin import Registry

        table = options_of_run(config, Registry.discover(config.plugins.prefer))
        config = config.model_copy(update={"options": table})
    typer.echo(as_yaml(config, defaults=defaults), nl=False)


@app.command()
def check(
    sources: Sources = None,
    overrides: Overrides = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Run or saved model that it is to start from."),
    ] = None,
) -> None:
    """Report every problem of a configuration at once."""
    if start is not None:
        _check_joining(sources or [], overrides or [], start)
        return
    from ofacore.setup.run_check import read_checked

    config = read_checked(sources or [], overrides or [], joins=True).config
    told = f"ok: {_counted(len(config.tasks))}"
    if config.keep:
        told += "; what it keeps, and whether it fits the model, is checked with --from RUN"
    typer.echo(told)


def _check_joining(sources: list[str], overrides: list[str], start: Path) -> None:
    """A configuration of what is new, against the model that it starts from."""
    from ofa_cli.runs import run_folder
    from ofacore.runs.extended_run import read_extension

    _, extension = read_extension(sources, overrides, run_folder(start))
    names = {"joins": extension.new, "kept": extension.kept, "left": extension.left}
    parts = [f"{', '.join(each)} {word}" for word, each in names.items() if each]
    typer.echo(f"ok: {_counted(len(extension.new))} for {start}: {'; '.join(parts)}")


def _counted(tasks: int) -> str:
    return f"{tasks} task{'s' if tasks != 1 else ''}"


@app.command()
def schema() -> None:
    """The schema of configurations, as JSON Schema."""
    from ofacore.config import json_schema

    print_json(json_schema())
