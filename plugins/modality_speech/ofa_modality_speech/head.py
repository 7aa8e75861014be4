"""Hidden states to the frames of a position."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, HeadContext


class FramesHead(nn.Module):
    """``audio_frames``: an MLP from every position to the numbers of its frames."""

    positionwise: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        options, hidden = context.options, context.hidden
        width = int(options["bins"]) * int(options["max_frames_per_step"])
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, hidden: Tensor, ctx: HeadContext) -> Tensor:
        """[m, bins * max_frames_per_step] of states [m, H]."""
        return self.layers(hidden)  # type: ignore[no-any-return]
