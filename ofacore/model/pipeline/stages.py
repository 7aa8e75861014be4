"""The universal model cut into the stages of a pipeline: which layers and parameters live where.

Encoder and decoder layers form one chain that is cut by cost. Source adapters live on the first stage, target adapters
on the stage of the first decoder layer, heads and criteria on the last. The encoder's output travels with the decoder's
states to the last stage, where terms may need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ofacore.model.pipeline.stage_plan import StagePlan as StagePlan
from ofacore.model.pipeline.stage_plan import layer_costs
from ofacore.parallel.cutting import PipelineError, cut
from ofacore.parallel.tied import Stages
from ofacore.protocols import Side, StagedBackbone

if TYPE_CHECKING:
    from ofacore.model.universal import UniversalModel


@dataclass(frozen=True)
class Stage:
    """One stage of a model, and what the others hold."""

    plan: StagePlan
    number: int
    holders: Mapping[str, Stages]
    """Every parameter and buffer of the whole model -> stages that hold it."""
    names: tuple[str, ...]
    """Every parameter of the whole model."""
    elsewhere: frozenset[str]
    """Portable names of what other stages hold and this one does not."""

    @property
    def first(self) -> bool:
        """It embeds the source."""
        return self.number == 0

    @property
    def last(self) -> bool:
        """It computes predictions and losses."""
        return self.number == self.plan.last

    @property
    def encodes(self) -> bool:
        """It holds a part of the encoder."""
        return self.number in self.plan.stages_of("encoder")

    @property
    def decodes(self) -> bool:
        """It holds a part of the decoder."""
        return self.number in self.plan.stages_of("decoder")

    @property
    def starts_decoder(self) -> bool:
        """It embeds the target."""
        return self.number == self.plan.stages_of("decoder")[0]

    @property
    def decoder_began(self) -> bool:
        """What it receives holds states of the decoder."""
        return self.number > self.plan.stages_of("decoder")[0]

    def owns(self, name: str) -> bool:
        """This stage is the first of those that hold a parameter: it counts it in norms."""
        return self.holders[name][0] == self.number


# ---------------------------------------------------------------- cutting


def plan_stages(model: UniversalModel, stages: int) -> StagePlan:
    """Cut a model's layers into stages of about equal cost.

    Raises:
        PipelineError: There are more stages than layers, or the backbone cannot be cut.
    """
    if not isinstance(model.backbone, StagedBackbone):
        raise PipelineError(
            f"backbone '{model.config.backbone}' cannot be cut into pipeline stages; use --pp 1"
        )
    costs = layer_costs(model.config, model.sizes)
    sizes = model.sizes
    costs[0] += _adapter_cost(model, "source")
    costs[min(sizes.encoder_layers, len(costs) - 1)] += _adapter_cost(model, "target")
    costs[-1] += sizes.hidden * model.vocabulary.size
    return StagePlan(sizes.encoder_layers, sizes.decoder_layers, cut(costs, stages))


def _adapter_cost(model: UniversalModel, side: Side) -> float:
    """Weights of a side's adapters, of which each position uses one."""
    own = [module for name, module in model.adapters.items() if side in sides_of(model, name)]
    return sum(p.numel() for module in own for p in module.parameters()) / max(1, len(own))


def sides_of(model: UniversalModel, adapter: str) -> frozenset[str]:
    """Sides that an adapter serves; both where nothing is known."""
    return model.needs.sides.get(adapter, frozenset({"source", "target"}))


def cut_model(model: UniversalModel, stages: int, number: int) -> StagePlan:
    """Keep one stage's parameters and drop the others, in place.

    Every process builds the whole model first, so initial values, names and patterns are those of one process.

    Raises:
        PipelineError: See `plan_stages`; or a component cannot work across stages.
    """
    if model.needs.attention_layers:
        raise PipelineError(
            "criteria that read attention weights do not work across pipeline stages; use --pp 1"
        )
    plan = plan_stages(model, stages)
    state = {n for n, v in model.state_dict(keep_vars=True).items() if isinstance(v, Tensor)}
    holders = {name: _holders(name, model, plan) for name in sorted(state)}
    names = model.whole_names()
    everything = set(model.portable_names())
    for name, held in holders.items():
        if number not in held:
            _drop(model, name)
    elsewhere = frozenset(everything - set(model.portable_names()))
    model.stage = Stage(plan, number, holders, names, elsewhere)
    return plan


def _drop(model: UniversalModel, name: str) -> None:
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path) if not name.startswith("types.") else model.types
    if module is model.types:
        del model.types[name.removeprefix("types.")]
    elif leaf in module._parameters:
        module._parameters[leaf] = None
    else:
        module._buffers[leaf] = None


def _holders(name: str, model: UniversalModel, plan: StagePlan) -> Stages:
    """Stages on which a parameter or buffer is needed; all for what is not known."""
    room, _, rest = name.partition(".")
    source, target, last = 0, plan.stages_of("decoder")[0], plan.last
    entry = {"source": source, "target": target}
    rooms: dict[str, Callable[[], set[int]]] = {
        "embedding": lambda: {source, target, last},
        "adapters": lambda: {entry[side] for side in sides_of(model, rest.partition(".")[0])},
        "types": lambda: {entry[rest.partition("/")[0]]},
        "source_norm": lambda: {source},
        "target_norm": lambda: {target},
        "heads": lambda: {last},
        "criteria": lambda: {last},
        "backbone": lambda: _backbone_holders(name, model, plan),
    }
    found = rooms[room]() if room in rooms else range(plan.last + 1)
    return tuple(sorted(found))


def _backbone_holders(name: str, model: UniversalModel, plan: StagePlan) -> set[int]:
    assert isinstance(model.backbone, StagedBackbone)
    readers = model.backbone.readers(name.removeprefix("backbone."))
    if readers is None:
        return set(range(plan.last + 1))
    found: set[int] = set()
    for stack, layer in readers:
        found |= set(plan.stages_of(stack)) if layer is None else {plan.stage_of(stack, layer)}
    return found
