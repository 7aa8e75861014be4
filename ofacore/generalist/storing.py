"""A generalist on disk: one checkpoint folder holds everything that is needed to use it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from torch import Tensor

from ofacore.checkpoint import (
    CheckpointError,
    Snapshot,
    checkpoints,
    find_latest,
    load_state,
    read_pointer,
    save_sharded,
    standing,
    step_folder,
)
from ofacore.checkpoint import load as load_snapshot
from ofacore.checkpoint import save as save_snapshot
from ofacore.checkpoint.by_name import Weights, origin_in
from ofacore.checkpoint.checkpoint_errors import listed
from ofacore.config.sizes import ModelSizeError
from ofacore.config.validation import explained
from ofacore.generalist.upgrading import is_outdated, upgraded
from ofacore.ground.folders import check_writable
from ofacore.ground.printable import shortened
from ofacore.model.allowance import Allowance, check_counts
from ofacore.model.universal import UniversalModel
from ofacore.model.weights.named import stored
from ofacore.plugin import Registry, UnknownNameError
from ofacore.setup.assembly import Assembly
from ofacore.setup.origins import changed_versions, preferring
from ofacore.setup.stored_description import described_model

if TYPE_CHECKING:
    from ofacore.generalist.facade import Generalist

_REQUIREMENT = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]{0,98}"
)
"""A package's name and its version (PEP 508 and 440): nothing that a shell would take for more."""


_JOINING = 2**30
"""Numbers that parts which join a stored model may have: it does not tell of them."""
logger = logging.getLogger("ofacore.training")


def save(generalist: Generalist, folder: Path) -> Path:
    """Write weights, plans, vocabulary and artifacts; the folder appears complete or not at all.

    Raises:
        CheckpointError: The folder holds something that is no checkpoint.
        UserError: It cannot be written to.
    """
    check_writable(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "COMPLETE").is_file():
        raise CheckpointError(
            folder, "is not empty and holds no saved model; choose another folder"
        )
    snapshot = Snapshot(
        generalist.model.portable_state(),
        described(generalist.assembly),
        artifacts=generalist.assembly.artifacts,
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
    found = {
        "assembly": assembly.state(),
        "plugins": [list(entry) for entry in assembly.registry.lock()],
    }
    return {**found, "origin": assembly.origin} if assembly.origin else found


def load(folder: Path, registry: Registry | None, which: str = "latest") -> Generalist:
    """Read a saved model, a run folder, or one of its checkpoints.

    Raises:
        CheckpointError: Nothing usable is there, or it does not fit; names what and where.
    """
    from ofacore.generalist.facade import Generalist

    found = read_model(folder, registry, which)
    generalist = Generalist(found.assembly, built_from(found, found.assembly)[0].eval())
    generalist.source = found.place
    return generalist


@dataclass(frozen=True)
class StoredModel:
    """A model on disk: everything around its weights, and the weights by name, read when they are asked for."""

    place: Path
    """The checkpoint."""
    assembly: Assembly
    weights: Mapping[str, Tensor]
    components: Mapping[str, Any]
    """Origins of its components; see `ofacore.setup.origins`."""


def read_model(folder: Path, registry: Registry | None, which: str = "latest") -> StoredModel:
    """Open a saved model, a run folder, or one of its checkpoints; no weight is read yet.

    Raises:
        CheckpointError: Nothing usable is there, or plugins are missing; names what and where.
    """
    place = checkpoint_of(folder, which)
    state = described_model(place, load_state(place))
    stored = state.get("components", {})
    if registry is None:
        registry = preferring(stored, state["config"].get("plugins", {}).get("prefer", {}))
    whole = is_outdated(stored, registry)
    snapshot = load_snapshot(place, optimizer=False, tensors=whole)
    assembly, snapshot = restored(place, snapshot, registry)
    assembly.origin = origin_in(snapshot.state)
    weights = {**snapshot.model, **snapshot.ema} if whole else Weights(place)
    return StoredModel(place, assembly, weights, stored)


def built_from(found: StoredModel, assembly: Assembly) -> tuple[UniversalModel, list[str]]:
    """A model with stored weights, tensor by tensor: at no time is it there twice.

    Args:
        found: Gives the weights.
        assembly: What is built: that of ``found``, or one that has grown from it.

    Returns:
        The model, and the portable names of what it has and the checkpoint lacks, where it has grown.

    Raises:
        CheckpointError: They do not fit; names what and where.
    """
    from ofacore.generalist.facade import build_model

    place, weights = found.place, found.weights
    grown = assembly is not found.assembly
    watched = Watched(weights)
    try:
        check_counts(assembly.config.model, len(weights))
        numbers = sum(math.prod(shape_of(weights, name)) for name in weights)
        joining = _JOINING if grown else 0
        with Allowance(numbers + joining):
            model = build_model(assembly)
    except ModelSizeError as error:
        raise CheckpointError(place, f"its settings do not fit its weights: {error}") from error
    try:
        missing = load_weights(place, model, watched, strict=not grown)
    except CheckpointError as error:
        changed = changed_versions(found.components, assembly.registry)
        if not changed:
            raise
        remedy = "install that version, or one whose upgrade_state knows these parameters"
        raise CheckpointError(
            place, f"was made with {', '.join(changed)}: {remedy}\n{error}"
        ) from error
    _tell_broken(place, watched)
    return model, missing


def shape_of(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """Shape of a stored tensor, which is not read where that can be told without."""
    return weights.shape(name) if isinstance(weights, Weights) else tuple(weights[name].shape)


def _is_floating(weights: Mapping[str, Tensor], name: str) -> bool:
    if isinstance(weights, Weights):
        return weights.is_floating(name)
    return weights[name].is_floating_point()


class Watched(Mapping[str, Tensor]):
    """Weights that note, as they are read, which of them are no numbers."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights
        self.broken: dict[str, None] = {}

    def __getitem__(self, name: str) -> Tensor:
        found = self.weights[name]
        # a sum makes no copy, and shows every number that is none; one that only grew too large is looked at again
        if not (bool(found.sum().isfinite()) or bool(found.isfinite().all())):
            self.broken[name] = None
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.weights

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def checkpoint_of(folder: Path, which: str = "latest") -> Path:
    """The checkpoint folder that a path means.

    Raises:
        CheckpointError: There is none.
    """
    if (standing(folder) / "COMPLETE").is_file():
        return standing(folder)
    if which not in ("latest", "best"):
        return _checkpoint_at(folder, which)
    found = read_pointer(folder, "best") if which == "best" else find_latest(folder)
    if found is None:
        missing = (
            f"has no {which} checkpoint"
            if (folder / "checkpoints").is_dir()
            else "is no run folder or saved model"
        )
        remedy = "train one with `ofa train`, or name a folder that Generalist.save wrote"
        if (folder / "ofacore.json").is_file():
            remedy = "it was exported for other programs; `ofa export --format ofa` writes one"
        raise CheckpointError(folder, f"{missing}; {remedy}")
    return found


def _checkpoint_at(folder: Path, which: str) -> Path:
    """The checkpoint of a step, ``400`` or ``step-000400``.

    Raises:
        CheckpointError: There is none; names those that there are.
    """
    there = checkpoints(folder)
    step = which.removeprefix("step-")
    found = [path for path in there if step.isdecimal() and path == step_folder(folder, int(step))]
    if found:
        return found[0]
    steps = [path.name.removeprefix("step-").lstrip("0") or "0" for path in there]
    more = f", and the steps {', '.join(steps)}" if steps else ""
    raise CheckpointError(
        folder, f"no checkpoint is called '{which}'; there are latest and best{more}"
    )


def restored(place: Path, snapshot: Snapshot, registry: Registry) -> tuple[Assembly, Snapshot]:
    """The assembly of a checkpoint, and the checkpoint as today's plugins would have written it.

    What plugins it misses is told with the command that installs them.
    """
    state = described_model(place, snapshot.state)
    stored = state.get("components", {})
    changed = changed_versions(stored, registry)
    if changed:
        logger.warning("%s was made with %s; it may answer otherwise", place, ", ".join(changed))
    try:
        if is_outdated(stored, registry):
            snapshot = upgraded(place, snapshot, stored, registry)
        return Assembly.restore(state, snapshot.artifacts, registry), snapshot
    except ValidationError as error:
        first = explained(error, state["config"])[0]
        what = f"assembly.config.{first}; a newer version of ofacore may have written it: pip install -U ofacore"
        raise CheckpointError(place / "state.json", what) from error
    except (UnknownNameError, ValueError) as error:
        lost = missing_plugins(snapshot.state, registry)
        if not lost and changed:
            made = f"was made with {', '.join(changed)}: install what it needs"
            raise CheckpointError(place, f"{made}\n{error}") from error
        if not lost:
            raise
        off = [row.distribution for row in registry.rows if row.status != "ok"]
        absent = [name for name in lost if name.partition("==")[0] not in off]
        odd = [name for name in lost if not _REQUIREMENT.fullmatch(name)]
        if odd:
            what = f"needs '{shortened(odd[0])}', which is no name of a package: do not trust this checkpoint"
            raise CheckpointError(place, what) from error
        enabling = "enable them (`ofa plugins list` tells why they are not used)"
        remedy = f"pip install {' '.join(absent)}" if absent else enabling
        raise CheckpointError(
            place, f"needs plugins that are not here: {remedy}\n{error}"
        ) from error


def _tell_broken(place: Path, watched: Watched) -> None:
    """Weights that are no numbers answer nothing: that is said, as the file is whole."""
    broken = list(watched.broken)
    if broken:
        what = "NaN or infinity, so its answers mean nothing: use an earlier checkpoint, or `best`"
        logger.warning(
            "%s: %d of %d tensors hold %s (%s)",
            place,
            len(broken),
            len(watched),
            what,
            listed(broken),
        )


def missing_plugins(state: Mapping[str, Any], registry: Registry) -> list[str]:
    """Distributions, with versions, that a checkpoint was made with and that are not here."""
    present = {distribution for _, distribution, _ in registry.lock()}
    lock = state.get("plugins", ())
    entries = [entry for entry in lock if isinstance(entry, list | tuple) and len(entry) == 3]
    wanted = {(str(name), str(version)) for _, name, version in entries if name not in present}
    return sorted(f"{distribution}=={version}" for distribution, version in wanted)


def load_weights(
    place: Path, model: UniversalModel, watched: Watched, strict: bool = True
) -> list[str]:
    """Copy stored weights into a model.

    Args:
        place: Where they are, for messages.
        model: What takes them.
        watched: The weights.
        strict: The model has nothing that they lack.

    Returns:
        Names of what it has and they lack.

    Raises:
        CheckpointError: Names or shapes differ, or numbers are whole where weights are not.
    """
    own, weights = stored(model), watched.weights
    whole = [
        name
        for name in weights
        if not _is_floating(weights, name)
        and (name.startswith("embedding.") or (name in own and own[name].is_floating_point()))
    ]
    if whole:
        what = f"{len(whole)} tensors hold whole numbers, as quantised weights do: {listed(whole)}"
        raise CheckpointError(place, f"{what}; expected floating-point numbers")
    try:
        missing, unknown = model.load_portable(watched, strict)
    except ValueError as error:
        raise CheckpointError(place, str(error)) from error
    if unknown:
        raise CheckpointError(place, f"holds weights that the model has not: {listed(unknown)}")
    return missing
