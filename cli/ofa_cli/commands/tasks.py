"""``ofa tasks list``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ofa_cli.lazy import command_group
from ofa_cli.output import echo, print_json
from ofacore.plugin import Registry, TaskPreset

app = command_group()


@app.callback()
def group() -> None:
    """Task presets that are installed."""


@app.command("list")
def list_tasks(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every preset: its plugin, instructions, metrics, and whether it has starter data."""
    registry = Registry.discover()
    tasks = [_task(preset, registry) for _, preset in sorted(registry.presets().items())]
    if json:
        print_json(tasks)
        return
    for task in tasks:
        echo(
            f"{task['name']}  ({task['plugin']}; {', '.join(task['metrics']) or 'no metric'}{_data(task)})"
        )
        for instruction in task["instructions"]:
            echo(f"    {instruction}")
    if not tasks:
        echo(
            "No task preset is installed. Any instruction is a task too: ofa explain '[TEXT:a] -> [TEXT:b]'"
        )


def _task(preset: TaskPreset, registry: Registry) -> dict[str, Any]:
    return {
        "name": preset.name,
        "plugin": registry.plugin_of("preset", preset.name).name,
        "instructions": [
            entry if isinstance(entry, str) else entry[0] for entry in preset.instructions
        ],
        "metrics": [use.metric for use in preset.metrics],
        "data": preset.data,
    }


def _data(task: dict[str, Any]) -> str:
    return "; starter data" if task["data"] else ""
