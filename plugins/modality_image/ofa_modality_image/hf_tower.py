"""Any image tower of `transformers` as an adapter."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ofa_modality_image.adapter import PictureAdapter
from ofa_modality_image.freezing import rest_frozen, run_tower
from ofa_modality_image.normalisation import STATISTICS
from ofa_modality_image.tower_config import (
    TowerError,
    check_layer,
    statistics_of,
    stored_config,
    tower_cells,
    tower_config,
)
from ofacore.parts import PretrainedError, pretrained

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

    from ofacore.protocols import BuildContext, Options

_SHOWN = 3
_UNUSED = ("pooler.", "head.", "mask_token")
"""Parts of parameter names: what makes one vector of a picture or stands for masked patches."""


class ImageTower(PictureAdapter):
    """``image_tower``: the patches of a CLIP, SigLIP, DINOv2 or other tower, projected to the model's width.

    Options:
        path: Folder as `save_pretrained` writes it, with ``config.json`` and weights. Never a name to download.
        frozen: The tower rests in evaluation mode and has no optimiser state; only the projection is learned.
        layer: Which hidden states; -1 the tower's output, -2 one layer before.
        class_token: Keep the tower's class token as first position.
        config: In place of ``path``, the configuration of a tower whose weights come from elsewhere.
        statistics: ``mean`` and ``std`` of pixels; default: those of the folder's ``preprocessor_config.json`` or
            ``processor_config.json``, then those of the slot.
        bare: No norm and no places besides the tower's own.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        config = tower_config(self.options)
        check_layer(int(self.options["layer"]), config)
        self.frozen = bool(self.options["frozen"])
        self.tower = (
            _load(str(self.options["path"]), config) if self.options["path"] else _build(config)
        )
        self.tower.requires_grad_(not self.frozen)
        _rest_unused(self.tower)
        self.norm = nn.Identity() if self.bare else nn.LayerNorm(config.hidden_size)
        self.image_proj = nn.Linear(config.hidden_size, context.hidden)
        self._resizes = "interpolate_pos_encoding" in signature(self.tower.forward).parameters
        self._normalise(statistics_of(self.options))
        self.train(self.training)

    @classmethod
    def cells(cls, shape: tuple[int, ...], options: Options) -> tuple[int, int]:
        """Rows and columns of patches."""
        return tower_cells(shape, options)

    @staticmethod
    def stored_options(options: Options) -> dict[str, Any]:
        """Options to build it again from a checkpoint, without the folder that it came from."""
        own = {"path": "", "config": stored_config(options), "statistics": statistics_of(options)}
        return {**options, **own}

    def train(self, mode: bool = True) -> ImageTower:
        """A frozen tower stays in evaluation."""
        super().train(mode)
        rest_frozen(self.tower, self.frozen)
        return self

    def states(self, pixels_BCYX: Tensor) -> Tensor:
        """[B, (class token and) cells, H]."""
        rows, columns = tower_cells(tuple(pixels_BCYX.shape[2:]), self.options)
        layer, options = int(self.options["layer"]), {}
        if layer != -1:
            options["output_hidden_states"] = True
        if self._resizes and tuple(pixels_BCYX.shape[2:]) != self._size():
            options["interpolate_pos_encoding"] = True
        output = run_tower(self.tower, pixel_values=pixels_BCYX, **options)
        hidden = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        return self.image_proj(self.norm(self._kept(hidden, rows * columns)))  # type: ignore[no-any-return]

    def _kept(self, hidden: Tensor, cells: int) -> Tensor:
        """Patches, with the class token where it is asked for; registers stand between them."""
        if hidden.ndim != 3 or hidden.shape[1] < cells:
            kind, shape = tower_config(self.options).model_type, list(hidden.shape)
            problem = f"a {kind} gives states {shape} for pictures of {cells} patches"
            raise TowerError(
                f"image_tower: {problem}; take a tower with one state for each patch, such as CLIP"
            )
        before, patches = hidden.split([hidden.shape[1] - cells, cells], dim=1)
        if not self.options.get("class_token"):
            return patches
        if not before.shape[1]:
            kind = tower_config(self.options).model_type
            raise TowerError(f"image_tower: a {kind} has no class token; leave out class_token")
        return torch.cat([before[:, :1], patches], dim=1)

    def _size(self) -> tuple[int, int]:
        size = tower_config(self.options).image_size
        return (size, size) if isinstance(size, int) else tuple(size)

    def _normalise(self, statistics: dict[str, list[float]]) -> None:
        """The tower's own statistics in place of those of the slot, except for pixels that are normalised already."""
        if statistics:
            mean, std = torch.tensor(statistics["mean"]), torch.tensor(statistics["std"])
            own = [number for number, name in enumerate(STATISTICS) if name != "given"]
            self.scales[own], self.offsets[own] = 1.0 / (255.0 * std), -mean / std


def _build(config: PretrainedConfig) -> PreTrainedModel:
    return _class_of(config)(config)  # type: ignore[no-any-return]


def _class_of(config: PretrainedConfig) -> Any:
    from transformers import MODEL_MAPPING

    if type(config) not in MODEL_MAPPING:
        raise TowerError(f"image_tower: transformers has no model for a {config.model_type}")
    return MODEL_MAPPING[type(config)]


def _load(path: str, config: PretrainedConfig) -> PreTrainedModel:
    kind = _class_of(config)
    try:
        tower, info = pretrained(kind, path, config, ignore_mismatched_sizes=True)
    except PretrainedError as error:
        raise TowerError(f"image_tower: {error}") from error
    shapes = [
        f"{name} is {tuple(there)} in the file, {tuple(here)} here"
        for name, there, here in _sorted(info)
    ]
    missing = sorted(name for name in info["missing_keys"] if not _is_unused(name))
    for title, names in (("other shapes", shapes), ("missing", missing)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            listed = f"{', '.join(names[:_SHOWN])}{more}"
            raise TowerError(
                f"image_tower: weights in '{path}' are not those of its config.json: {title}: {listed}"
            )
    return tower  # type: ignore[no-any-return]


def _is_unused(name: str) -> bool:
    return any(part in name for part in _UNUSED)


def _sorted(info: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return sorted(info["mismatched_keys"], key=lambda entry: str(entry[0]))


def _rest_unused(tower: nn.Module) -> None:
    """What only serves vectors of whole pictures, or masked pictures, is never learned here."""
    unused = (
        _UNUSED if tower.config.model_type != "clip_vision_model" else (*_UNUSED, "post_layernorm.")
    )
    for name, parameter in tower.named_parameters():
        if any(part in name for part in unused):
            parameter.requires_grad_(False)
