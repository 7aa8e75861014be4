"""What flow matching is trained on: points between noise and sound, and the way from one to the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ofa_modality_speech.shapes import packed
from ofacore.protocols import DenseSegment, Options


class FlowCorruption:
    """``audio_flow``: a straight line from noise to clean frames (Lipman et al. 2023, Liu et al. 2023).

    The noise of one whole segment has one share, even between 0 and 1; labels are the direction, clean minus noise.
    """

    def __init__(self, options: Options) -> None:
        self._options = dict(options)

    def __call__(self, segment: DenseSegment, rng: np.random.Generator) -> DenseSegment:
        """Noised frames, their share of noise, and the direction; later segments see the clean frames."""
        if segment.labels is None:
            return segment
        clean = segment.features["frames"]
        share = np.float32(rng.random())
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        mask = segment.labels["mask"]
        level = np.full_like(segment.features["level"], share)
        direction = packed(clean - noise, segment.shape[1], mask.shape[1])
        return replace(
            segment,
            features={"frames": share * noise + (1 - share) * clean, "level": level},
            labels={"values": direction, "mask": mask},
            context=segment.features,
        )
