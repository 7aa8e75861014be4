"""A dense run of this project as one with experts by modality, each a copy of the feed-forward layers."""

from __future__ import annotations

from pathlib import Path

from ofa_foreign.importing.weights import for_experts
from ofacore.checkpoint import CheckpointError
from ofacore.generalist.facade import Generalist, build_model
from ofacore.generalist.storing import load
from ofacore.ground.errors import UserError
from ofacore.plugin import Registry
from ofacore.setup.assembly import Assembly


def is_own_run(path: Path) -> bool:
    """Whether a folder is a run, a saved model or a checkpoint of this project."""
    return (path / "checkpoints").is_dir() or (path / "COMPLETE").is_file()


def with_experts(path: Path, registry: Registry | None) -> Generalist:
    """The model of a dense run, with experts; it computes exactly what the run's model does.

    Averaged weights are taken where the run has some, as they are what answers.

    Raises:
        CheckpointError: The run cannot be read, or has experts already.
        UserError: Experts cannot take over what the model has.
    """
    dense = load(path, registry)
    kind = dense.assembly.config.model.experts
    if kind != "none":
        raise CheckpointError(
            path, f"its model has experts already (model.experts: {kind}); expected a dense one"
        )
    state = dense.assembly.state()
    state["config"]["model"] = {**state["config"].get("model", {}), "experts": "modality"}
    assembly = Assembly.restore(state, dense.assembly.artifacts, dense.assembly.registry)
    model = build_model(assembly)
    spread = for_experts(dense.model.portable_state(), own := model.portable_state())
    if spread.keys() != own.keys():
        lost = ", ".join(sorted(spread.keys() ^ own.keys())[:5])
        raise UserError(f"'{path}' cannot get experts by modality: {lost} has no counterpart")
    model.load_portable(spread)
    return Generalist(assembly, model.eval())
