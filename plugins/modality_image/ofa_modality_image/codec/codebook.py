"""Vector quantisation (van den Oord et al. 2017): a code is the nearest of some learned vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_KEPT = 0.97
"""Share of the moving averages that each step leaves as it was."""
_DEAD = 0.03
"""A vector is dead below this share of the uses that it would have if all were used alike."""
_AT_ONCE = 16_384
"""Latents whose distances from all vectors are in memory together."""


class Codebook(nn.Module):
    """Takes the last axis [..., D] to the nearest of ``count`` vectors of ``depth`` numbers; gradients pass through.

    Vectors follow the moving averages of what they stand for. One that hardly stands for anything starts again where a
    latent of the step lies, as all do at first.
    """

    vectors: Tensor
    uses: Tensor
    """Moving average of how many latents of a step a vector stands for."""

    def __init__(self, count: int, depth: int, commitment: float) -> None:
        super().__init__()
        self.weight = commitment
        self.register_buffer("vectors", torch.zeros(count, depth))
        self.register_buffer("uses", torch.zeros(count), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """The nearest vectors."""
        return z + (self.values(self.codes(z)) - z).detach()

    def codes(self, z: Tensor) -> Tensor:
        """int64 [...]: the number of the nearest vector."""
        latents_ND = z.detach().flatten(0, -2)
        found = [self._nearest(part) for part in latents_ND.split(_AT_ONCE)]
        return torch.cat(found).view(z.shape[:-1])

    def values(self, codes: Tensor) -> Tensor:
        """[..., D] of codes int64 [...]."""
        return self.vectors[codes]

    def commitment(self, z: Tensor, quantised: Tensor) -> Tensor:
        """What keeps latents near their vectors: weighed mean squared distance."""
        return self.weight * functional.mse_loss(z, quantised.detach())

    def _nearest(self, latents_ND: Tensor) -> Tensor:
        away_NK = self.vectors.square().sum(1) - 2 * latents_ND @ self.vectors.T
        return away_NK.argmin(1)

    @torch.no_grad()
    def learn(self, z: Tensor, draw: torch.Generator) -> None:
        """Move the vectors towards the latents of a step, and start dead ones again at latents drawn at random."""
        latents_ND = z.flatten(0, -2)
        codes_N = self.codes(latents_ND)
        used_K = torch.zeros_like(self.uses).index_add_(0, codes_N, torch.ones(len(codes_N)))
        sums_KD = torch.zeros_like(self.vectors).index_add_(0, codes_N, latents_ND)
        sums_KD = _KEPT * self.uses[:, None] * self.vectors + (1 - _KEPT) * sums_KD
        self.uses.mul_(_KEPT).add_(used_K, alpha=1 - _KEPT)
        self.vectors.copy_(sums_KD / self.uses.clamp_min(1e-12)[:, None])
        fair = len(codes_N) / len(self.uses)
        dead = (self.uses < _DEAD * fair).nonzero()[:, 0]
        places = torch.randint(len(latents_ND), (len(dead),), generator=draw)
        self.vectors[dead] = latents_ND[places]
        self.uses[dead] = fair
