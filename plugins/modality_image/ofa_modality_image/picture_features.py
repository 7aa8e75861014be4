"""Vectors that distances of pictures are measured on: of Inception, or of an encoder by local folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_modality_image.encoders import load_encoder
from ofa_modality_image.weights import read_weights
from ofacore.plugin import UserError

if TYPE_CHECKING:
    from PIL import Image

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
"""The file of torch-fidelity, in the folder where torch keeps what it has fetched."""
_ENCODER = "the folder of an image encoder of transformers, with its image processor"

PictureFeatures = Callable[["Image.Image"], np.ndarray]
"""float64 [size] of an RGB picture."""


def picture_features(path: str, weights: str) -> PictureFeatures:
    """What sees pictures: the encoder in the folder ``path``; without one Inception, with torch-fidelity's ``weights``.

    Raises:
        UserError: Neither is here, and nothing is fetched; or the file holds something else.
    """
    return _encoder(path) if path else _inception(weights)


def _encoder(path: str) -> PictureFeatures:
    import torch

    model, prepare = load_encoder(path, "fid", _ENCODER, "AutoImageProcessor")
    embed: Any = getattr(model, "get_image_features", model)

    @torch.no_grad()
    def features(image: Image.Image) -> np.ndarray:
        found = embed(**prepare(images=[image], return_tensors="pt"))
        pooled = getattr(found, "pooler_output", found)
        if pooled is None:
            pooled = found.last_hidden_state.mean(1)
        vector: np.ndarray = pooled[0].double().numpy().reshape(-1)
        return vector

    return features


def _inception(weights: str) -> PictureFeatures:
    import torch
    from torchmetrics.image import fid

    file = Path(weights) if weights else Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    way_out = f"or set option path: {_ENCODER}"
    if not file.is_file():
        raise UserError(
            f"fid: there is no '{file}', the weights of Inception, and nothing is fetched; "
            f"put torch-fidelity's {INCEPTION} there, or name it by option weights, {way_out}"
        )
    read_weights(file, "fid")  # refuses Python objects, which torch-fidelity would run
    try:
        network = fid.NoTrainInceptionV3("inception-v3-compat", ["2048"], str(file))
    except ModuleNotFoundError as error:
        raise UserError(
            f"fid: Inception needs `pip install ofa-modality-image[fid]`; {way_out}"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"fid: '{file}' does not hold the weights of Inception that torch-fidelity gives; {way_out}"
        ) from error

    @torch.no_grad()
    def features(image: Image.Image) -> np.ndarray:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
        vector: np.ndarray = network(pixels)[0].double().numpy()
        return vector

    return features
