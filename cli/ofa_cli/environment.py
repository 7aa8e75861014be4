"""What a report about an installation needs: versions, places, plugins, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from ofa_cli.output import echo, print_json
from ofacore.plugin import CONTRACT, PluginRow

_WIDTH = 12


def versions(names: Sequence[str]) -> dict[str, str]:
    """Distribution -> its version, or ``missing``."""
    return {name: _version(name) for name in names}


def plugin_lines(rows: Sequence[PluginRow]) -> list[str]:
    """The contract of the core, and one line for each plugin."""
    contract = f"contract {CONTRACT[0]}.{CONTRACT[1]}"
    return [
        contract,
        *(f"{row.name} ({row.distribution} {row.version}) {row.status}" for row in rows),
    ]


def plugin_problems(rows: Sequence[PluginRow]) -> list[str]:
    """One line for each plugin that cannot be used as it should."""
    bad = [row for row in rows if row.status not in ("ok", "disabled")]
    return [f"plugin {row.name} is {row.status}: {row.problem}" for row in bad]


def print_report(report: Mapping[str, Any], problems: Sequence[str], *, json: bool) -> None:
    """Print a report.

    Raises:
        Exit: With code 1 if there is a problem.
    """
    if json:
        print_json({**report, "problems": problems})
    else:
        for key, value in report.items():
            echo(f"{key:{_WIDTH}}{_flat(value)}".rstrip())
        for problem in problems:
            echo(f"problem: {problem}")
    if problems:
        raise typer.Exit(1)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _flat(value: Any) -> str:
    items = [f"{key} {item}" for key, item in value.items()] if isinstance(value, dict) else value
    return str(items) if isinstance(items, str) else f"\n{' ' * _WIDTH}".join(items)
