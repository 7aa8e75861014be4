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
def fill_normal(
    part: Tensor, name: str, shape: tuple[int, ...], seed: int, dim: int | None
) -> None:
    """Put `normal` of that name into a parameter, or into what this process holds of it.

    A whole one gets them where it is: no second one is made.

    Args:
        part: The parameter.
        name: Of the values.
        shape: Of the whole parameter.
        seed: Seed of the values.
        dim: Along which it is split; None: it is whole.
    """
    own = part.detach()
    plain = own.device.type == "cpu" and own.dtype == torch.float32 and own.is_contiguous()
    if plain and own.shape == shape:
        generator = torch.Generator().manual_seed(seed_of(name, seed))
        torch.randn(shape, generator=generator, out=own).mul_(_STD)
    else:
        own.copy_(own_part(normal(name, shape, seed), dim))


@torch.no_grad()
def initialise(module: nn.Module, prefix: str, seed: int) -> None:
    """Give the parameters of a core module their initial values, in place.

    Matrices are normal with deviation 0.02 (BERT); vectors keep what their constructor gave: ones for scales, zeros
    for biases. The whole matrix is made, whatever part of it this process holds: all layouts start equal.
    """
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            fill_normal(
                parameter,
                f"{prefix}.{name}",
                whole_shape(parameter),
                seed,
                split_dim(parameter),
            )
