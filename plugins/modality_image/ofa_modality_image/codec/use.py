"""How many of its codes a codec uses."""

from __future__ import annotations

import numpy as np

from ofa_modality_image.codec.network import ConvCodec
from ofa_modality_image.codec.training import to_tensor

_AT_ONCE = 32
_MOST = 4096


def codes_used(codec: ConvCodec, pixels: np.ndarray) -> dict[str, float]:
    """``codes_in_use``, a share, and ``code_perplexity`` of uint8 pictures [N, Y, X, 3], of the first 4,096.

    Perplexity: so many codes, used evenly, would be as hard to guess (van den Oord et al. 2017).
    """
    counts = np.zeros(codec.shape.codes, np.int64)
    shown = pixels[:_MOST]
    for start in range(0, len(shown), _AT_ONCE):
        codes = codec.encode(to_tensor(shown[start : start + _AT_ONCE])).numpy()
        counts += np.bincount(codes.reshape(-1), minlength=len(counts))
    shares = counts[counts > 0] / counts.sum()
    entropy = -float((shares * np.log(shares)).sum())
    return {
        "codes_in_use": len(shares) / len(counts),
        "code_perplexity": float(np.exp(entropy)),
    }
