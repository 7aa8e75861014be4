"""What runs began with: a model that is given or noted in all of them, or the initial values of one seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor

from ofa_merge.opened import OpenedRun, open_run
from ofacore.checkpoint.by_name import origin_of
from ofacore.generalist.facade import build_model
from ofacore.ground.errors import UserError
from ofacore.setup.assembly import Assembly

_REMEDY = "name what they began with (--base RUN); without it there are the methods mean and slerp"


class Ancestor(Mapping[str, Tensor]):
    """Name -> fp32 tensor that the runs began with.

    What a base lacks, as parts that were added to it, began with the initial values of the runs' seed.

    Args:
        runs: The runs.
        merged: The model of all of them; `union` made it.
        base: The model that they began with; None: initial values alone.
    """

    def __init__(self, runs: Sequence[OpenedRun], merged: Assembly, base: OpenedRun | None) -> None:
        self._runs, self._merged, self.base = runs, merged, base

    @property
    def told(self) -> str:
        """Which one it is."""
        if self.base is not None:
            return str(self.base.place)
        return f"initial values of seed {self._runs[0].seed}"

    def __getitem__(self, name: str) -> Tensor:
        """One tensor; raises KeyError where nobody knows it."""
        if self.base is not None and name in self.base.weights:
            return self.base.weights[name]
        return self._initial[name]

    def __iter__(self) -> Iterator[str]:
        known = [] if self.base is None else list(self.base.weights)
        return iter(dict.fromkeys([*known, *self._initial]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    @cached_property
    def _initial(self) -> dict[str, Tensor]:
        """The merged model before any training: a value depends on name and seed alone."""
        seeds = {run.seed for run in self._runs}
        if len(seeds) > 1:
            told = ", ".join(f"'{run.name}' has {run.seed}" for run in self._runs)
            raise UserError(
                f"the runs share parts that the base lacks, and their seeds differ: {told}; {_REMEDY}"
            )
        return build_model(self._merged).portable_state()


def find_ancestor(runs: Sequence[OpenedRun], merged: Assembly, base: Path | None) -> Ancestor:
    """What runs began with.

    Args:
        runs: The runs; each says what it began with.
        merged: The model of all of them.
        base: The user's word, which goes before theirs; of a run folder its latest checkpoint, as ``--from`` takes it.

    Raises:
        UserError: They began differently, do not say with what, or that model is gone.
    """
    if base is not None:
        given = open_run(base)
        _check_base(given, runs)
        return Ancestor(runs, merged, given)
    silent = [run.name for run in runs if not run.origin]
    if silent:
        whose = ", ".join(f"'{name}'" for name in silent)
        raise UserError(f"{whose}: nothing says what the weights were before training; {_REMEDY}")
    origins = {str(run.origin.get("weights", f"seed {run.seed}")): run for run in runs}
    if len(origins) > 1:
        told = "; ".join(f"'{run.name}' began with {_told(run)}" for run in origins.values())
        raise UserError(f"the runs have no common ancestor: {told}; {_REMEDY}")
    if "folder" not in runs[0].origin:
        return Ancestor(runs, merged, None)
    return Ancestor(runs, merged, _noted(runs))


def _told(run: OpenedRun) -> str:
    return str(run.origin.get("folder", f"initial values of seed {run.seed}"))


def _noted(runs: Sequence[OpenedRun]) -> OpenedRun:
    """The checkpoint that all runs name, if it still holds what it held."""
    digest = runs[0].origin["weights"]
    folders = dict.fromkeys(str(run.origin["folder"]) for run in runs)
    for folder in folders:
        if origin_of(Path(folder)).get("weights") == digest:
            found = open_run(Path(folder))
            _check_base(found, runs)
            return found
    where = ", ".join(folders)
    raise UserError(f"the runs began with {where}, which is gone or holds other weights; {_REMEDY}")


def _check_base(base: OpenedRun, runs: Sequence[OpenedRun]) -> None:
    """The base has the tensors of the runs, in their shapes, as far as it has them."""
    for run in runs:
        for name in run.weights:
            if name not in base.weights:
                continue
            own, theirs = base.weights.shape(name), run.weights.shape(name)
            if own != theirs:
                differ = (
                    f"'{name}' is {list(own)} in '{base.name}' and {list(theirs)} in '{run.name}'"
                )
                raise UserError(f"the runs did not begin with this base: {differ}")
    if not any(name in base.weights for run in runs for name in run.weights):
        raise UserError(f"'{base.name}' shares no tensor with the runs")
