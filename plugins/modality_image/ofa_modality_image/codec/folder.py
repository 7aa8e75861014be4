"""A codec in a folder, as ``ofa train-tokenizer`` or diffusers' ``VQModel`` writes it, and within a model.

Nothing of a folder is executed: settings are JSON, weights are safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ofa_modality_image.codec.codec_error import CodecError
from ofa_modality_image.codec.network import CodecShape, ConvCodec
from ofa_modality_image.codec.training import to_tensor, to_uint8
from ofacore.protocols import Artifact

if TYPE_CHECKING:
    from torch import nn

KIND = "ofa-image-codec"
SETTINGS = "config.json"
WEIGHTS = "model.safetensors"
_VQGAN = "VQModel"
_VQGAN_WEIGHTS = "diffusion_pytorch_model.safetensors"
_DESCRIPTION = "codec.json"
"""Settings within a model's artifact."""


class PictureCodec:
    """Codes of pictures, whoever trained the codec: ``codes`` of them, one for ``factor`` x ``factor`` pixels."""

    def __init__(self, network: nn.Module, codes: int, factor: int) -> None:
        self.network, self.codes, self.factor = network.eval().requires_grad_(False), codes, factor

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """int64 [B, rows, columns] of uint8 [B, height, width, 3]."""
        found: np.ndarray = self._encoded(to_tensor(pixels)).cpu().numpy()
        return found

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """uint8 [B, height, width, 3] of int64 [B, rows, columns]."""
        return to_uint8(self._decoded(torch.from_numpy(codes)))

    def _encoded(self, pixels: Tensor) -> Tensor:
        return self.network.encode(pixels)  # type: ignore[operator,no-any-return]

    def _decoded(self, codes: Tensor) -> Tensor:
        return self.network.decode(codes)  # type: ignore[operator,no-any-return]


class _Vqgan(PictureCodec):
    """A VQGAN (Esser et al. 2021) of diffusers."""

    @torch.no_grad()
    def _encoded(self, pixels: Tensor) -> Tensor:
        latents = self.network.encode(pixels).latents  # type: ignore[operator]
        chosen = self.network.quantize(latents)[2][2]  # type: ignore[operator]
        return chosen.view(len(pixels), *latents.shape[2:])  # type: ignore[no-any-return]

    @torch.no_grad()
    def _decoded(self, codes: Tensor) -> Tensor:
        shape = (*codes.shape, self.network.quantize.vq_embed_dim)  # type: ignore[union-attr]
        latents = self.network.quantize.get_codebook_entry(codes.reshape(-1), shape)  # type: ignore[union-attr,operator]
        states = self.network.post_quant_conv(latents)  # type: ignore[operator]
        spatial = self.network.config.norm_type == "spatial"  # type: ignore[union-attr]
        spatial_latents = latents if spatial else None
        return self.network.decoder(states, spatial_latents)  # type: ignore[operator,no-any-return]


def save_codec(codec: ConvCodec, folder: Path, settings: Mapping[str, Any]) -> None:
    """Write a codec of our own: settings as JSON, weights as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"kind": KIND, **codec.shape.json(), **settings}
    (folder / SETTINGS).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    write_weights(codec, folder / WEIGHTS)


def write_weights(codec: ConvCodec, path: Path) -> None:
    """Write the weights as safetensors."""
    from safetensors.torch import save_file

    save_file(codec.state_dict(), path)


def artifact_of(codec: ConvCodec) -> Artifact:
    """What a model keeps of a codec that was trained for it: settings in memory, weights as a file by reference."""
    written = Artifact.written(WEIGHTS, lambda path: write_weights(codec, path))
    described = Artifact.of_json(_DESCRIPTION, {"kind": KIND, **codec.shape.json()})
    return described.with_file(written.path(WEIGHTS))


def artifact_in(folder: Path) -> Artifact:
    """What a model keeps of the codec in a folder; its weights stay a file.

    Raises:
        CodecError: The folder holds no codec.
    """
    settings = _settings(folder)
    name = WEIGHTS if settings.get("kind") == KIND else _VQGAN_WEIGHTS
    if not (folder / name).is_file():
        raise CodecError(f"{folder}: a codec without its weights; '{name}' is missing")
    described = Artifact.of_json(_DESCRIPTION, settings)
    artifact = described.with_file(folder / name)
    load_codec(artifact, str(folder))
    return artifact


def load_codec(artifact: Artifact, place: str = "the model's codec") -> PictureCodec:
    """The codec of an artifact.

    Raises:
        CodecError: Settings and weights do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    settings: Any = artifact.json(_DESCRIPTION)
    own = settings.get("kind") == KIND
    codec = _own(settings) if own else _vqgan(settings, place)
    file = WEIGHTS if own else _VQGAN_WEIGHTS
    path = artifact.path(file)
    try:
        codec.network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CodecError(f"{place}: the weights in '{path.name}' do not fit: {reason}") from error
    return codec


def described(artifact: Artifact) -> tuple[int, int]:
    """How many codes a codec has, and its factor, without reading its weights."""
    settings: Any = artifact.json(_DESCRIPTION)
    if settings.get("kind") == KIND:
        shape = CodecShape.of(settings)
        return shape.codes, shape.factor
    return int(settings["num_vq_embeddings"]), 2 ** (len(settings["block_out_channels"]) - 1)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    expected = "a folder that `ofa train-tokenizer` or diffusers' VQModel.save_pretrained wrote"
    if not folder.is_dir():
        raise CodecError(f"{folder}: there is no such folder; a codec is {expected}")
    if not path.is_file():
        raise CodecError(f"{folder}: it is no codec, as it has no {SETTINGS}; expected {expected}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CodecError(f"{path}: it cannot be read ({error}); expected {expected}") from error
    kind = found.get("kind", found.get("_class_name")) if isinstance(found, dict) else None
    if kind not in (KIND, _VQGAN):
        raise CodecError(f"{path}: it describes {kind!r:.40}, no codec; expected {expected}")
    if kind == _VQGAN and (missing := _missing(found)):
        raise CodecError(f"{path}: a VQModel without {missing}; expected {expected}")
    return found  # type: ignore[no-any-return]


def _missing(settings: Mapping[str, Any]) -> str:
    wanted = ("num_vq_embeddings", "block_out_channels")
    return ", ".join(name for name in wanted if name not in settings)


def _own(settings: Mapping[str, Any]) -> PictureCodec:
    shape = CodecShape.of(settings)
    return PictureCodec(ConvCodec(shape), shape.codes, shape.factor)


def _vqgan(settings: Mapping[str, Any], place: str) -> PictureCodec:
    try:
        import diffusers
    except ImportError as error:
        raise CodecError(
            f"{place}: a VQModel needs diffusers; pip install ofa-modality-image[vqgan]"
        ) from error
    known = {name: value for name, value in settings.items() if not name.startswith("_")}
    network = diffusers.VQModel.from_config(known)
    factor = 2 ** (len(settings["block_out_channels"]) - 1)
    return _Vqgan(network, int(settings["num_vq_embeddings"]), factor)
