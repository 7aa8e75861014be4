"""A generalist on disk: one checkpoint folder holds everything that is needed to use it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.assembly import Assembly
from ofacore.assembly.origins import changed_versions, preferences
from ofacore.checkpoint import CheckpointError, Snapshot, find_latest, read_pointer, save_sharded, standing
from ofacore.checkpoint import load as load_snapshot
from ofacore.checkpoint import save as save_snapshot
from ofacore.folders import check_writable
from ofacore.model.universal import UniversalModel
from ofacore.plugin import Registry, UnknownNameError

if TYPE_CHECKING:
    from ofacore.generalist import Generalist


logger = logging.getLogger("ofacore.train")


def save(generalist: Generalist, folder: Path) -> Path:
    """Write weights, plans, vocabulary and artifacts; the folder appears complete or not at all.

    Raises:
        CheckpointError: The folder holds something that is no checkpoint.
        UserError: It cannot be written to.
    """
    check_writable(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "COMPLETE").is_file():
        raise CheckpointError(folder, "is not empty and holds no saved model; choose another folder")
    snapshot = Snapshot(
        generalist.model.portable_state(), described(generalist.assembly), artifacts=generalist.assembly.artifacts
    )
    return save_snapshot(folder, snapshot)


def convert(source: Path, out: Path, *, sharded: bool = False, which: str = "latest") -> Path:
    """Write a checkpoint in the other form: all of it, optimiser state too. No plugin is needed.

    Args:
        source: A checkpoint, a run folder or a saved model.
        out: Folder to write.
        sharded: Write the sharded form; default: the portable one.
        which: Of a run folder: ``latest`` or ``best``.

    Raises:
        CheckpointError: Nothing usable is there, or ``out`` holds something.
    """
    place = checkpoint_of(source, which)
    check_writable(out)
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(out, "is not empty; choose another folder")
    snapshot = load_snapshot(place)
    return save_sharded(out, snapshot) if sharded else save_snapshot(out, snapshot)


def described(assembly: Assembly) -> dict[str, Any]:
    """What a checkpoint says about its model, JSON-ready."""
    return {"assembly": assembly.state(), "plugins": [list(entry) for entry in assembly.registry.lock()]}


def load(folder: Path, registry: Registry | None, which: str = "latest") -> Generalist:
    """Read a saved model, a run folder, or one of its checkpoints.

    Raises:
        CheckpointError: Nothing usable is there, or it does not fit; names what and where.
    """
    from ofacore.generalist import Generalist

    place = checkpoint_of(folder, which)
    snapshot = load_snapshot(place, optimizer=False)
    assembly = restored(place, snapshot, registry)
    from ofacore.generalist import build_model

    model = build_model(assembly)
    load_weights(place, model, {**snapshot.model, **snapshot.ema})
    return Generalist(assembly, model.eval())


def checkpoint_of(folder: Path, which: str = "latest") -> Path:
    """The checkpoint folder that a path means.

    Raises:
        CheckpointError: There is none.
    """
    if (standing(folder) / "COMPLETE").is_file():
        return standing(folder)
    if which not in ("latest", "best"):
        raise CheckpointError(folder, f"no checkpoint is called '{which}'; there are latest and best")
    found = read_pointer(folder, "best") if which == "best" else find_latest(folder)
    if found is None:
        missing = (
            f"has no {which} checkpoint" if (folder / "checkpoints").is_dir() else "is no run folder or saved model"
        )
        raise CheckpointError(
            folder, f"{missing}; train one with `ofa train`, or name a folder that Generalist.save wrote"
        )
    return found


def restored(place: Path, snapshot: Snapshot, registry: Registry | None) -> Assembly:
    """The assembly of a checkpoint; what plugins it misses is told with the command that installs them."""
    if not isinstance(snapshot.state.get("assembly"), dict):
        raise CheckpointError(place, "holds no description of its model")
    state = snapshot.state["assembly"]
    stored = state.get("components", {})
    if registry is None:
        chosen = state["config"].get("plugins", {}).get("prefer", {})
        registry = Registry.discover({**preferences(stored), **chosen})
    changed = changed_versions(stored, registry)
    if changed:
        logger.warning("%s was made with %s; it may answer otherwise", place, ", ".join(changed))
    try:
        return Assembly.restore(state, snapshot.artifacts, registry)
    except (UnknownNameError, ValueError) as error:
        lost = missing_plugins(snapshot.state, registry)
        if not lost and changed:
            made = f"was made with {', '.join(changed)}: install what it needs"
            raise CheckpointError(place, f"{made}\n{error}") from error
        if not lost:
            raise
        off = [row.distribution for row in registry.rows if row.status != "ok"]
        absent = [name for name in lost if name.partition("==")[0] not in off]
        enabling = "enable them (`ofa plugins list` tells why they are not used)"
        remedy = f"pip install {' '.join(absent)}" if absent else enabling
        raise CheckpointError(place, f"needs plugins that are not here: {remedy}\n{error}") from error


def missing_plugins(state: Mapping[str, Any], registry: Registry) -> list[str]:
    """Distributions, with versions, that a checkpoint was made with and that are not here."""
    present = {distribution for _, distribution, _ in registry.lock()}
    wanted = {
        (distribution, version) for _, distribution, version in state.get("plugins", ()) if distribution not in present
    }
    return sorted(f"{distribution}=={version}" for distribution, version in wanted)


def load_weights(place: Path, model: UniversalModel, weights: Mapping[str, Any]) -> None:
    """Copy stored weights into a model.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    try:
        model.load_portable(weights)
    except ValueError as error:
        raise CheckpointError(place, str(error)) from error
