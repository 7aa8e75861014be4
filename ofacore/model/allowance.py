"""A bound on what a model may take while it is built from the settings of a stranger."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import ModelSizeError, resolve

_FLOOR = 2**26
"""Numbers that any import may use: parts that a checkpoint lacks and an instruction asks for begin with them."""
_MULTIPLE = 8
"""Numbers for each number of the checkpoint: initial values are drawn beside the tensors that they go to."""
_FEW = 64
_EACH = 1024
"""What a tensor costs besides its numbers: the module that holds it."""
_SIZED: frozenset[Callable[..., Any]] = frozenset(
    {
        torch.empty,
        torch.zeros,
        torch.ones,
        torch.rand,
        torch.randn,
        torch.full,
        torch.randint,
        torch.normal,
    }
)


class Allowance(TorchFunctionMode):
    """Inside of this, tensors are made as long as the checkpoint's own size bears them.

    Args:
        numbers: Numbers in the checkpoint.

    Raises:
        ModelSizeError: Its settings ask for more; nothing of that size is then allocated.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.left = _FLOOR + _MULTIPLE * numbers

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count what a factory is about to make."""
        given = dict(kwargs or {})
        if func in _SIZED:
            self._spend(_size(args, given))
        elif func is torch.arange:
            self._spend(_steps(args))
        return func(*args, **given)

    def _spend(self, numbers: int) -> None:
        self.left -= numbers + _EACH
        if self.left < 0:
            what = f"they ask for far more than the {self.numbers} numbers that are stored"
            raise ModelSizeError(f"{what}; expected settings and tensors of one model")


def check_counts(config: ModelConfig, tensors: int) -> None:
    """A model has no more layers and experts than there are tensors: each of them holds several.

    Raises:
        ModelSizeError: It has; names the option.
    """
    sizes = resolve(config)
    counts = {"encoder_layers": sizes.encoder_layers, "decoder_layers": sizes.decoder_layers}
    for name, number in {**counts, "experts_number": config.experts_number}.items():
        if number > max(tensors, _FEW):
            raise ModelSizeError(
                f"they ask for far more than is stored: {name} {number} of {tensors} tensors"
            )


def _size(args: Sequence[Any], given: Mapping[str, Any]) -> int:
    """Numbers of a tensor, from the arguments of what makes it: sizes one by one, or together."""
    sizes = given.get("size", args)
    together = next((part for part in args if isinstance(part, tuple | list)), None)
    chosen = sizes if together is None or "size" in given else together
    return math.prod(int(size) for size in chosen if isinstance(size, int))


def _steps(args: Sequence[Any]) -> int:
    """Numbers of a range."""
    numbers = [part for part in args if isinstance(part, int | float)]
    if not numbers:
        return 0
    if len(numbers) == 1:
        numbers = [0, *numbers]
    start, end, step = [*numbers, 1][:3]
    return max(0, int((end - start) / step)) if step else 0
