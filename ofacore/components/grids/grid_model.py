"""Patches of a grid to positions of the model, and positions to the numbers of their patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.components.grids.grid_values import GRID_FILE
from ofacore.components.vectors.regression import ValuesHead
from ofacore.plugin.plugin_errors import PluginError
from ofacore.protocols import BuildContext, Options

_BANDS = 16
"""Waves for each coordinate; each gives a sine and a cosine."""
_LONGEST = 10_000.0


class GridAdapter(nn.Module):
    """One position for each patch of a grid, given or asked for.

    Patches that are asked for bring equal features; what tells them apart is a learned map of their coordinates.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.project = nn.Linear(_patch_size(context) + 1, context.hidden)
        self.place = nn.Linear(3 * 2 * _BANDS, context.hidden)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """Patches of a grid of ``shape`` patches."""
        return math.prod(shape)

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [patches, 3]: the last axes are t, y, x; axes before them are counted on in t."""
        t, y, x = (1, 1, *shape)[-3:]
        places = np.indices((math.prod(shape[:-3]) * t, y, x))
        return places.reshape(3, -1).T.astype(np.int64)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of patches, H].

        Args:
            features: ``values`` [sum of patches, numbers of a patch] and ``known`` [sum of patches, 1].
            shapes: Patches along each axis of each grid.
        """
        dtype = self.project.weight.dtype
        both = torch.cat([features["values"], features["known"]], dim=1).to(dtype)
        places = np.concatenate([self.coordinates(shape, {}) for shape in shapes])
        waves = _waves(torch.from_numpy(places).to(both.device))
        return self.project(both) + self.place(waves.to(dtype))  # type: ignore[no-any-return]


class GridHead(ValuesHead):
    """From each state [H] to the numbers of its patch."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__(replace(context, options={"width": _patch_size(context)}))


def _patch_size(context: BuildContext) -> int:
    """Numbers of a patch, as the preprocessor stored it when the model was made."""
    name = str(context.options["preprocessor"])
    if name not in context.artifacts:
        raise PluginError(
            f"a part of the grids of '{name}' serves them alone, and the model has none of these"
        )
    stored: dict[str, list[int]] = context.artifacts[name].json(GRID_FILE)  # type: ignore[assignment]
    return math.prod(stored["patch"])


def _waves(places: Tensor) -> Tensor:
    """[n, 3 * 2 * bands]: sine and cosine of each coordinate at geometric frequencies (Vaswani et al. 2017)."""
    frequencies = _LONGEST ** (-torch.arange(_BANDS, device=places.device) / _BANDS)
    angles = (places.float()[:, :, None] * frequencies).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
