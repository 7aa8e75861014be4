"""The weights of a model by name, whatever the layout in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.process_groups import expert_group, expert_size, pipeline_group
from ofacore.parallel.sharded_optimizer import part_like, whole_of
from ofacore.parallel.sharding import from_all, is_expert, local, whole_shape
from ofacore.protocols import ExpertBackbone

if TYPE_CHECKING:
    from ofacore.model.universal import UniversalModel

_TABLE = re.compile(r"^embedding\.((table|projection)\.weight|bias)$")
_EXPERT = re.compile(r"^backbone\..*\.ffn\.each\.([^.]+)\.")


def stored(model: UniversalModel) -> dict[str, Tensor]:
    """Parameters and persistent buffers that go by their own names: all but token tables and the bias of logits."""
    return {
        name: value
        for name, value in model.state_dict(keep_vars=True).items()
        if isinstance(value, Tensor)
        and not _TABLE.match(name)
        and not name.endswith("_extra_state")
    }


def names_everywhere(model: UniversalModel) -> tuple[str, ...]:
    """Names of all parameters, those of other stages and ranks included; processes must call this together."""
    if model.stage:
        return model.stage.names
    own = [name for name, _ in model.named_parameters()]
    if expert_size() == 1:
        return tuple(own)
    found: list[list[str]] = [own] * expert_size()
    dist.all_gather_object(found, own, group=expert_group())
    return tuple(dict.fromkeys(name for names in found for name in names))


def freeze(model: UniversalModel, patterns: Iterable[str]) -> list[str]:
    """See `UniversalModel.freeze`."""
    frozen = []
    names = names_everywhere(model)
    for pattern in patterns:
        matched = [(n, p) for n, p in model.named_parameters() if re.search(pattern, n)]
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(f"freeze pattern '{pattern}' matches no parameter of this model")
        for name, parameter in matched:
            parameter.requires_grad_(False)
            frozen.append(name)
    model.train(model.training)
    return frozen


def whole_state(model: UniversalModel) -> dict[str, Tensor]:
    """Whole tensors by portable name, gathered from all processes that hold parts of the model."""
    state = {f"embedding.{name}": rows for name, rows in model.embedding.portable_state().items()}
    own = stored(model)
    state.update(
        (name, whole_of(local(value.detach()).clone(), value)) for name, value in own.items()
    )
    if expert_size() > 1:
        experts = from_all(
            {name: state[name] for name, value in own.items() if is_expert(value)}, expert_group()
        )
        state = {**state, **experts}
    return from_all(state, pipeline_group()) if model.stage else state


class HeldWeights(Mapping[str, Tensor]):
    """Whole tensors by portable name, each made when it is asked for; mostly the very memory of the model.

    Of a model that is not cut into stages, and has no experts on other ranks. Processes of a tensor group must ask for
    the same names in the same order.
    """

    def __init__(self, model: UniversalModel) -> None:
        self._model, self._own = model, stored(model)

    def __getitem__(self, name: str) -> Tensor:
        if name in self._own:
            value = self._own[name]
            return whole_of(local(value.detach()), value)
        return self._model.embedding.whole_rows(name.removeprefix("embedding."))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter([*self._names(), *self._own])

    def __len__(self) -> int:
        return len(self._own) + len(self._names())

    def _names(self) -> list[str]:
        return [f"embedding.{name}" for name in self._model.embedding.portable_names()]


def missing_and_unknown(
    model: UniversalModel, state: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Names that the model has and ``state`` lacks, and the reverse."""
    own = {*stored(model), *(f"embedding.{name}" for name in model.embedding.portable_names())}
    elsewhere = model.stage.elsewhere if model.stage else frozenset()
    unknown = sorted(
        name for name in set(state) - own - elsewhere if not _of_other_rank(model, name)
    )
    return sorted((own | elsewhere) - set(state)), unknown


@torch.no_grad()
def take_over(model: UniversalModel, state: Mapping[str, Tensor]) -> None:
    """Copy whole tensors into what this process holds; each is read once, and let go before the next.

    Raises:
        ValueError: A shape differs.
    """
    model.embedding.load_portable(Below("embedding.", state))
    for name, value in stored(model).items():
        if name in state:
            whole = state[name]
            if whole_shape(value) != whole.shape:
                raise ValueError(
                    f"'{name}': stored {tuple(whole.shape)}, here {whole_shape(value)}"
                )
            local(value).copy_(part_like(whole, value))


class Below(Mapping[str, Tensor]):
    """The tensors whose names begin alike, by the rest of their names; none is read before it is asked for."""

    def __init__(self, prefix: str, state: Mapping[str, Tensor]) -> None:
        self.prefix, self.state = prefix, state

    def __getitem__(self, name: str) -> Tensor:
        return self.state[self.prefix + name]

    def __contains__(self, name: object) -> bool:
        return f"{self.prefix}{name}" in self.state

    def __iter__(self) -> Iterator[str]:
        own = (name for name in self.state if name.startswith(self.prefix))
        return (name.removeprefix(self.prefix) for name in own)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _of_other_rank(model: UniversalModel, name: str) -> bool:
    """A parameter of an expert that another rank of the expert group holds."""
    found = _EXPERT.search(name) if expert_size() > 1 else None
    if found is None or not isinstance(model.backbone, ExpertBackbone):
        return False
    return found[1] in model.backbone.expert_names()
