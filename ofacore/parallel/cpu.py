"""Lets megatron-core run without CUDA.

Megatron asks ``torch.cuda`` for the current device, streams and random states in a few places even where no CUDA is
needed. `install` gives the modules listed in `MODULES` their own view of ``torch`` that answers these calls with the
CPU. Neither torch nor any other module is changed, and where CUDA is available nothing happens at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from ofacore.parallel.megatron import megatron

MODULES = (
    "utils",
    "tensor_parallel.layers",
    "tensor_parallel.mappings",
    "tensor_parallel.utils",
    "tensor_parallel.random",
    "pipeline_parallel.p2p_communication",
    "pipeline_parallel.schedules",
)
RANDOM_NAMES = (
    "_get_cuda_rng_state",
    "_set_cuda_rng_state",
    "_CUDA_RNG_STATE_TRACKER",
    "_CUDA_RNG_STATE_TRACKER_INITIALIZED",
)
_FACTORIES = ("zeros", "ones", "empty", "tensor", "empty_like", "full")


class _Cuda:
    """Stands in for ``torch.cuda``."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cuda, name)

    def current_device(self) -> torch.device:
        return torch.device("cpu")

    def synchronize(self, *_: Any) -> None:
        """Nothing runs behind our back on a CPU."""

    def empty_cache(self) -> None:
        """There is no cache of device memory."""

    def manual_seed(self, seed: int) -> None:
        torch.default_generator.manual_seed(int(seed))

    def get_rng_state(self, *_: Any) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, *_: Any) -> None:
        torch.set_rng_state(state)


def _on_cpu(factory: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def make(*args: Any, **kwargs: Any) -> torch.Tensor:
        if str(kwargs.get("device", "")).startswith("cuda"):
            kwargs["device"] = torch.device("cpu")
        return factory(*args, **kwargs)

    return make


class TorchWithoutCuda:
    """Stands in for the module ``torch``."""

    def __init__(self) -> None:
        self.cuda = _Cuda()
        for name in _FACTORIES:
            setattr(self, name, _on_cpu(getattr(torch, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _install_random_states() -> None:
    random = megatron("tensor_parallel.random")

    class CpuStates(random.CudaRNGStatesTracker):  # type: ignore[misc, name-defined]
        """Named states of the CPU generator."""

        @contextmanager
        def fork(self, name: str = random._MODEL_PARALLEL_RNG_TRACKER_NAME) -> Iterator[None]:
            if name not in self.states_:
                raise KeyError(f"no random state '{name}' was added")
            outside = torch.get_rng_state()
            torch.set_rng_state(self.states_[name])
            try:
                yield
            finally:
                self.states_[name] = torch.get_rng_state()
                torch.set_rng_state(outside)

    replacements = (
        lambda *_, **__: torch.get_rng_state(),
        lambda state, *_, **__: torch.set_rng_state(state),
        CpuStates(),
        True,
    )
    for name, value in zip(RANDOM_NAMES, replacements, strict=True):
        setattr(random, name, value)


@cache
def install() -> bool:
    """Give megatron's modules a ``torch`` that knows no CUDA; True if that was needed."""
    if torch.cuda.is_available():
        return False
    for name in MODULES:
        megatron(name).torch = TorchWithoutCuda()  # type: ignore[attr-defined]
    _install_random_states()
    return True
