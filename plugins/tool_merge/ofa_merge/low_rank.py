"""Weights of a model with low-rank updates, as if the updates were part of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ofacore import Weights
from ofacore.config.model_section import LoraConfig
from ofacore.model.weights.lora import place_of_update


class Folded(Mapping[str, Tensor]):
    """Name -> fp32 tensor; ``W + B A alpha / rank`` where the model has an update A, B of W.

    Args:
        weights: Of a checkpoint.
        lora: Of its configuration.
        task: Its task, where each has an update of its own.
    """

    def __init__(self, weights: Weights, lora: LoraConfig, task: str = "") -> None:
        self._weights, self._scale = weights, lora.alpha / max(1, lora.rank)
        place = place_of_update(lora, task)
        self._down, self._up = f"{place}.down", f"{place}.up"
        self._names = [name for name in weights if ".low_rank." not in name]

    def __getitem__(self, name: str) -> Tensor:
        """One tensor, read now.

        Raises:
            KeyError: There is none of that name.
            CheckpointError: Its file is damaged.
        """
        value = self._weights[name]
        if not value.is_floating_point():
            return value
        linear = name.removesuffix(".weight")
        if linear != name and linear + self._down in self._weights:
            down, up = self._weights[linear + self._down], self._weights[linear + self._up]
            update = up.float() @ down.float()
            return value.float() + update * self._scale
        return value.float()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, which is not read."""
        return self._weights.shape(name)
