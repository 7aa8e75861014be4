"""How well written pictures agree with their captions, by an encoder of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ofa_modality_image.encoders import load_encoder
from ofa_modality_image.loading import load_image
from ofacore.plugin import UserError
from ofacore.protocols import Options


class ClipTi:
    """``clip_ti``: cosine of a picture's vector and its caption's, 0 to 1 (Hessel et al. 2021), by a local encoder.

    Option ``path`` is the folder of a CLIP, SigLIP or another model of transformers that embeds both, as
    ``save_pretrained`` writes it, with its processor; option ``caption`` the column of the captions. Of several
    pictures of a row, as a repeated slot writes them, the best counts, as in OFASys.
    """

    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._path, self._column = str(options["path"]), str(options["caption"])
        self._encoder: tuple[Any, Any] | None = None
        self._scores: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add written pictures, and rows with their captions.

        Raises:
            UserError: ``path`` is no folder of such a model.
            ValueError: A row has no caption.
        """
        for prediction, row in zip(predictions, rows, strict=True):
            if row.get(self._column) is None:
                columns = ", ".join(row)
                raise ValueError(
                    f"clip_ti: a row has no column '{self._column}' but {columns}; set option caption"
                )
            pictures = prediction if isinstance(prediction, list) else [prediction]
            self._scores.append(self._agreement(pictures, str(row[self._column])))

    def compute(self) -> dict[str, float]:
        """The mean; nan where nothing was seen."""
        return {"clip_ti": float(np.mean(self._scores)) if self._scores else float("nan")}

    def merge(self, other: ClipTi) -> None:
        """Add what another has seen."""
        self._scores += other._scores

    def items(self) -> Sequence[float]:
        """The agreement of each row."""
        return self._scores

    def _agreement(self, pictures: Sequence[Any], caption: str) -> float:
        import torch

        self._encoder = self._encoder or _encoder(self._path)
        model, processor = self._encoder
        images = [load_image(picture, "answer") for picture in pictures]
        with torch.no_grad():
            seen = processor(images=images, return_tensors="pt")
            read = processor(text=[caption], return_tensors="pt", padding=True, truncation=True)
            left = _vectors(model.get_image_features(**seen))
            right = _vectors(model.get_text_features(**read))
        return max(0.0, float((left @ right.T).max()))


def _vectors(features: Any) -> Any:
    """[n, size] of length 1, whether a model gives vectors or an output that holds them."""
    vectors = getattr(features, "pooler_output", features)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _encoder(path: str) -> tuple[Any, Any]:
    """A model of texts and pictures, and its processor."""
    wanted = "the folder of a CLIP or SigLIP of transformers, with its processor"
    model, processor = load_encoder(path, "clip_ti", wanted, "AutoProcessor")
    if not hasattr(model, "get_text_features") or not hasattr(model, "get_image_features"):
        raise UserError(f"clip_ti: '{path}' does not embed both texts and pictures; give {wanted}")
    return model, processor
