"""Initial values by name: what a parameter starts with depends on its name and the seed, on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ofacore.parallel.sharding import own_part, split_dim, whole_shape

_STD = 0.02


def seed_of(name: str, seed: int) -> int:
    """A seed that depends on a name."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "big")


@contextmanager
def seeded(name: str, seed: int) -> Iterator[None]:
    """Run with torch's default generator seeded by a name; its state outside is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(name, seed))
        yield


def normal(name: str, shape: tuple[int, ...], seed: int, std: float = _STD) -> Tensor:
    """Normal numbers for the parameter of that name."""
    generator = torch.Generator().manual_seed(seed_of(name, seed))
    return torch.randn(shape, generator=generator).mul_(std)


@torch.no_grad()
def initialise(module: nn.Module, prefix: str, seed: int) -> None:
    """Give the parameters of a core module their initial values, in place.

    Matrices are normal with deviation 0.02 (BERT); vectors keep what their constructor gave: ones for scales, zeros
    for biases. The whole matrix is made, whatever part of it this process holds: all layouts start equal.
    """
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            whole = normal(f"{prefix}.{name}", whole_shape(parameter), seed)
            parameter.copy_(own_part(whole, split_dim(parameter)))
