"""Everything of the merged model but its weights: the tasks, tokens and artifacts of all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa_merge.opened import OpenedRun
from ofacore.ground.artifacts import Artifact
from ofacore.ground.vocabulary import Vocabulary
from ofacore.plugin import Registry
from ofacore.setup.assembly import Assembly
from ofacore.setup.origins import preferring


def union(runs: Sequence[OpenedRun], name: str, registry: Registry | None = None) -> Assembly:
    """The assembly of runs that are alike.

    Tasks, blocks of tokens and options of components are those of all runs; what several have is the first one's, and
    so are the settings of training and generation. Low-rank updates are gone: they are part of the weights.

    Args:
        runs: Checked by `check_alike`.
        name: What the merged run is called.
        registry: Plugins to use; default: those that the runs were made with.
    """
    states = [run.assembly.state() for run in runs]
    configs = [state["config"] for state in states]
    first: dict[str, Any] = dict(configs[0])
    model = {key: value for key, value in first.get("model", {}).items() if key != "lora"}
    config = {
        **{key: value for key, value in first.items() if key not in ("out", "parallel")},
        "name": name,
        "model": model,
        "tasks": _first_of([each["tasks"] for each in configs]),
        "options": _first_of([each.get("options", {}) for each in configs]),
    }
    vocabulary = runs[0].assembly.vocabulary
    for run in runs[1:]:
        vocabulary = vocabulary.extend(run.assembly.vocabulary.blocks)
    artifacts: dict[str, Artifact] = _first_of([run.assembly.artifacts for run in runs])
    components: dict[str, Any] = _first_of([state["components"] for state in states])
    state = {
        "config": config,
        "vocabulary": [[block.name, block.size] for block in vocabulary.blocks],
        "founding": _founding(runs, vocabulary),
        "from_data": _first_of([each["from_data"] for each in states]),
        "components": components,
    }
    chosen = first.get("plugins", {}).get("prefer", {})
    registry = registry or preferring(components, chosen)
    assembly = Assembly.restore(state, artifacts, registry)
    seeds = {run.seed for run in runs}
    if len(seeds) == 1:
        train = assembly.config.train.model_copy(update={"seed": seeds.pop()})
        assembly.config = assembly.config.model_copy(update={"train": train})
    return assembly


def _founding(runs: Sequence[OpenedRun], merged: Vocabulary) -> int | None:
    """How many blocks the model was made with that all runs began with; None where they had all of them, or others."""
    founders = {run.assembly.vocabulary.founders for run in runs}
    number = len(next(iter(founders)))
    return number if len(founders) == 1 and number < len(merged.blocks) else None


def _first_of(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All keys, each with the value of the first table that has it."""
    found: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            found.setdefault(key, value)
    return found
