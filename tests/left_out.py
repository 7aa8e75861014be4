"""``python -m tests.left_out``: says in one line which tests a run left out, for want of data, and how to get them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from ofa_starter import PackageSource, is_fetched
from ofacore.plugin import Registry, TaskPreset


def sources(presets: Iterable[TaskPreset]) -> set[PackageSource]:
    """All package sources that the data modules of presets name."""
    modules = [importlib.import_module(preset.data.partition(":")[0]) for preset in presets]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, PackageSource)
    }
    return found | set(Registry.discover().load("dataset", "openmoji")().sources)


def first_party() -> list[TaskPreset]:
    """Presets with data of the plugins in this repository."""
    return [
        preset
        for preset in Registry.discover().presets().values()
        if preset.data.startswith("ofa_task_")
    ]


def left_out(wanted: Iterable[PackageSource]) -> str:
    """The line; empty where nothing is missing."""
    missing = sorted(source.name for source in wanted if not is_fetched(source))
    if not missing:
        return ""
    return f"left out: tests (marker 'data') that need {', '.join(missing)}; with a network, run: ofa data fetch --all"


if __name__ == "__main__":
    line = left_out(sources(first_party()))
    if line:
        print(line)
