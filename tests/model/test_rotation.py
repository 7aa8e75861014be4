"""Queries and keys turn by pairs of features."""

import torch

from ofacore.model.backbone.positions import Rotary, rotate
from ofacore.protocols import PositionsContext


def turned(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [4 positions, 2 heads, width], as they are and rotated."""
    scheme = Rotary(PositionsContext(2 * width, 2, 1, 1, options={"base": 100.0}))
    x = torch.randn(4, 2, width, generator=torch.Generator().manual_seed(1))
    return x, rotate(x, scheme.rotation(torch.arange(4)[:, None].expand(-1, 3)))


def test_the_last_feature_of_an_odd_width_stays() -> None:
    for width in (1, 5, 6):
        x, y = turned(width)
        assert torch.equal(y[0], x[0]) and torch.allclose(y.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
        assert torch.equal(y[..., 2 * (width // 2) :], x[..., 2 * (width // 2) :])
        assert width == 1 or not torch.allclose(y[1], x[1], atol=1e-3)


def test_products_depend_on_distance_alone() -> None:
    x, _ = turned(5)
    same = x[:1].expand(4, -1, -1)
    scheme = Rotary(PositionsContext(10, 2, 1, 1, options={"base": 100.0}))
    y = rotate(same, scheme.rotation(torch.arange(4)[:, None].expand(-1, 3)))
    products = torch.einsum("qhd,khd->hqk", y, y)
    for shift in range(3):
        diagonal = products.diagonal(shift, 1, 2)
        assert torch.allclose(diagonal, diagonal[:, :1].expand_as(diagonal), atol=1e-5)
