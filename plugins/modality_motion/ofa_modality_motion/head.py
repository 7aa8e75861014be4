"""Hidden states to clean frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, HeadContext


class MotionHead(nn.Module):
    """``motion``: an MLP from every position to its clean frame."""

    positionwise: ClassVar[bool] = False

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        hidden, width = context.hidden, int(context.options["max_dim"])
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, hidden: Tensor, ctx: HeadContext) -> Tensor:
        """Normalised frames [m, max_dim] of states [m, H]."""
        return self.layers(hidden)
