"""Checkpoints of older versions of plugins: names that changed since, and parameters that a plugin renames itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ofacore.checkpoint import CheckpointError, Snapshot
from ofacore.plugin import Registry
from ofacore.plugin.blame import who
from ofacore.setup.origins import Stored

_OWN = {"adapter": "adapters", "head": "heads", "criterion": "criteria"}
"""Kind -> where the parameters of its components stand, each below its name."""
_WHOLE = {"backbone": "backbone.", "positions": "backbone.positions."}
"""Kind -> where those of the model's only component of that kind stand."""
_NO_ADAPTERS = ("heads.", "criteria.", "embedding.")


def is_outdated(stored: Stored, registry: Registry) -> bool:
    """Whether a checkpoint holds names or versions that are others today."""
    return bool(_renames(stored, registry)) or any(_changed(stored, registry))


def upgraded(place: Path, snapshot: Snapshot, stored: Stored, registry: Registry) -> Snapshot:
    """A checkpoint as today's plugins would have written it.

    Args:
        place: Where it was read, for messages.
        snapshot: What was read.
        stored: Its components; see `ofacore.setup.origins`.
        registry: What is installed.

    Raises:
        CheckpointError: ``upgrade_state`` of a component raises, or gives no mapping of tensors; names plugin,
            versions and parameter.
    """
    renames = _renames(stored, registry)

    def now(name: str) -> str:
        for (kind, old), new in renames.items():
            name = _renamed(name, kind, old, new)
        return name

    def all_now(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {now(name): value for name, value in tensors.items()}

    optimizer = {}
    for key, value in snapshot.optimizer.items():
        name, _, kept = key.rpartition("|")
        optimizer[f"{now(name)}|{kept}"] = value
    methods = {
        now(name): method
        for name, method in snapshot.optimizer_structure.get("methods", {}).items()
    }
    structure = (
        {**snapshot.optimizer_structure, "methods": methods}
        if methods
        else snapshot.optimizer_structure
    )
    artifacts = {
        registry.today("preprocessor", name): each for name, each in snapshot.artifacts.items()
    }
    found = replace(
        snapshot,
        model=all_now(snapshot.model),
        ema=all_now(snapshot.ema),
        optimizer=optimizer,
        optimizer_structure=structure,
        artifacts=artifacts,
    )
    for change in _changed(stored, registry):
        found = _upgrade(place, found, change)
    return found


@dataclass(frozen=True)
class _Change:
    """A component whose distribution has another version than the one that wrote a checkpoint."""

    kind: str
    name: str
    """Of today."""
    version: str
    """That wrote it."""
    owner: str
    """Kind, name and plugin with today's version, for messages."""
    upgrade: Callable[[Mapping[str, Tensor], str], Any]


def _renames(stored: Stored, registry: Registry) -> dict[tuple[str, str], str]:
    """(kind, old name) -> name of today."""
    pairs = [(key.partition("/")[0], key.partition("/")[2]) for key in stored]
    return {(kind, old): new for kind, old in pairs if (new := registry.today(kind, old)) != old}


def _changed(stored: Stored, registry: Registry) -> list[_Change]:
    """Components that bring ``upgrade_state`` and are of another version now."""
    found = []
    for key, origin in stored.items():
        kind, _, old = key.partition("/")
        name = registry.today(kind, old)
        if kind not in {*_OWN, *_WHOLE} or name not in registry.names(kind):
            continue
        row = registry.plugin_of(kind, name)
        version = str(origin.get("version", ""))
        if (row.distribution, row.version) == (origin.get("distribution"), version):
            continue
        upgrade = getattr(registry.load(kind, name), "upgrade_state", None)
        if upgrade is not None:
            found.append(_Change(kind, name, version, who(registry, kind, name), upgrade))
    return found


def _renamed(name: str, kind: str, old: str, new: str) -> str:
    """A weight's name after a component got another."""
    if kind in ("head", "criterion"):
        home = _OWN[kind]
        return re.sub(rf"^{home}\.{re.escape(old)}(?=[.-])", f"{home}.{new}", name)
    if kind == "adapter" and not name.startswith(_NO_ADAPTERS):
        return re.sub(rf"(?<=[./]){re.escape(old)}(?=\.|$)", new, name)
    return name


def _prefixes(change: _Change, names: Mapping[str, Any]) -> list[str]:
    """Where the component's parameters stand; a criterion stands there once for each set of options."""
    if change.kind in _WHOLE:
        return [_WHOLE[change.kind]]
    own = re.compile(rf"^{_OWN[change.kind]}\.{re.escape(change.name)}(-[0-9a-f]{{8}})?\.")
    return list(dict.fromkeys(match[0] for name in names if (match := own.match(name))))


def _upgrade(place: Path, snapshot: Snapshot, change: _Change) -> Snapshot:
    model, ema = dict(snapshot.model), dict(snapshot.ema)
    optimizer, structure = dict(snapshot.optimizer), dict(snapshot.optimizer_structure)
    for prefix in _prefixes(change, model):
        before = {name: value for name, value in model.items() if name.startswith(prefix)}
        model = _applied(place, model, prefix, change)
        after = {name: value for name, value in model.items() if name.startswith(prefix)}
        moved = {
            old: new
            for old, value in before.items()
            for new, kept in after.items()
            if kept is value
        }
        if any(name.startswith(prefix) for name in ema):
            ema = _applied(place, ema, prefix, change)
        optimizer = _moved(optimizer, prefix, moved)
        if "methods" in structure:
            structure["methods"] = _moved(structure["methods"], prefix, moved)
    return replace(
        snapshot, model=model, ema=ema, optimizer=optimizer, optimizer_structure=structure
    )


def _moved(kept: Mapping[str, Any], prefix: str, moved: Mapping[str, str]) -> dict[str, Any]:
    """What training keeps for parameters, under their new names; without that of parameters that were made anew."""
    found = {}
    for key, value in kept.items():
        name, bar, what = key.partition("|")
        if not name.startswith(prefix):
            found[key] = value
        elif name in moved:
            found[f"{moved[name]}{bar}{what}"] = value
    return found


def _applied(
    place: Path, tensors: Mapping[str, Tensor], prefix: str, change: _Change
) -> dict[str, Tensor]:
    own = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    told = f"upgrade_state of {change.owner}, from version {change.version or 'unknown'}"
    try:
        found = change.upgrade(dict(own), change.version)
    except Exception as error:
        names = ", ".join(own) or "none"
        what = f"{told}, raised {type(error).__name__}: {error}; the stored parameters are {names}"
        raise CheckpointError(place, what) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(
            place, f"{told}, gives {found!r:.60}; expected a mapping from names to tensors"
        )
    wrong = next((name for name, value in found.items() if not isinstance(value, Tensor)), None)
    if wrong is not None:
        raise CheckpointError(place, f"{told}, gives no tensor for parameter {wrong!r:.80}")
    others = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    return {**others, **{f"{prefix}{name}": value for name, value in found.items()}}
