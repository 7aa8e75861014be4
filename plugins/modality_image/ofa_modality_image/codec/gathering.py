"""The pictures that a codec is trained on when a model is created."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from ofa_modality_image.loading import load_image
from ofacore.protocols import RowError


def pictures_to_fit(
    values: Iterable[tuple[int, Any]], most: int, rng: np.random.Generator
) -> np.ndarray:
    """uint8 [N, side, side, 3] at the commonest side of all pairs (side, picture); bad pictures are left out.

    Of more than ``most`` pictures so many are drawn at random, each as likely (Vitter 1985).
    """
    kept: list[Image.Image] = []
    seen = 0
    for side, value in values:
        place = seen if seen < most else int(rng.integers(seen + 1))
        if place >= most:
            seen += 1
            continue
        try:
            picture = load_image(value, "picture").resize((side, side), Image.Resampling.BICUBIC)
        except RowError:
            continue
        seen += 1
        kept[place : place + 1] = [picture]
    if not kept:
        return np.zeros((0, 1, 1, 3), np.uint8)
    ((size, _),) = Counter(picture.size for picture in kept).most_common(1)
    return np.stack([np.asarray(picture.resize(size)) for picture in kept])
