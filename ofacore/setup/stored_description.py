"""What a checkpoint says of its model, read before anything is built: its configuration, vocabulary and plugins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofacore.checkpoint import CheckpointError, find_latest, load_state
from ofacore.config.schema import RunConfig
from ofacore.ground import json_files
from ofacore.plugin import Registry
from ofacore.setup.origins import preferring


def registry_of_run(config: RunConfig, folder: Path, resume: bool) -> Registry:
    """The plugins for a configured run; one that goes on prefers the distributions that it began with.

    Args:
        config: The run.
        folder: Run folder.
        resume: The run goes on from the folder's latest checkpoint, if it has one.

    Raises:
        CheckpointError: The latest checkpoint cannot be read.
    """
    place = find_latest(folder) if resume else None
    stored = described_model(place, load_state(place)).get("components", {}) if place else {}
    return preferring(stored, config.plugins.prefer)


def described_model(place: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint's ``state.json`` says of its model: configuration and vocabulary.

    Raises:
        CheckpointError: It says nothing, or something else.
    """
    found = state.get("assembly")
    if not isinstance(found, dict):
        raise CheckpointError(place, "holds no description of its model")
    path = place / "state.json"
    if not isinstance(found.get("config"), dict):
        raise CheckpointError(
            path, f"assembly.config is {_kind(found.get('config'))}; expected a configuration"
        )
    if not isinstance(found["config"].get("plugins", {}), dict):
        raise CheckpointError(path, "assembly.config.plugins is no section; expected an object")
    blocks = found.get("vocabulary")
    if not isinstance(blocks, list) or not all(_is_block(block) for block in blocks):
        raise CheckpointError(
            path, f"assembly.vocabulary is {_kind(blocks)}; expected pairs of a block and its size"
        )
    if not isinstance(state.get("plugins", []), list):
        raise CheckpointError(path, f"plugins is {_kind(state['plugins'])}; expected a list")
    return found


def _is_block(block: Any) -> bool:
    pair = isinstance(block, list) and len(block) == 2
    return pair and isinstance(block[0], str) and isinstance(block[1], int) and block[1] >= 0


def _kind(value: Any) -> str:
    return "missing" if value is None else json_files.described(value)
