"""``ofa plugins doctor``."""

from __future__ import annotations

import os
import platform
import sys
from typing import Annotated, Any

import typer

from ofa_cli.environment import plugin_lines, plugin_problems, print_report, versions
from ofa_kit.checks.requirements import unmet
from ofa_kit.checks.static import subject_of
from ofacore.ground.folders import cache_root
from ofacore.plugin import Registry


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """What a report about a plugin needs: versions, places, requirements, settings; exit 1 if something is wrong."""
    print_report(*_report(), json=json)


def _report() -> tuple[dict[str, Any], list[str]]:
    """(report, problems) about plugins; loads nothing but manifests."""
    registry = Registry.discover()
    places = [
        f"{row.name}: {subject_of(row, registry.entry_point(row)).place}" for row in registry.rows
    ]
    lacking = {row.distribution: unmet(row.distribution) for row in registry.rows}
    report = {
        "python": f"{platform.python_version()} in {sys.prefix}",
        "platform": platform.platform(),
        "libraries": versions(("ofacore", "pluggy", "numpy", "torch")),
        "plugins": plugin_lines(registry.rows),
        "places": places,
        "settings": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith("OFA_")
        },
        "cache": str(cache_root()),
    }
    problems = plugin_problems(registry.rows)
    problems += [
        f"{distribution}: {line}" for distribution, lines in lacking.items() for line in lines
    ]
    return report, problems
