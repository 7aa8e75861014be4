"""How codes are learned that are filled in at once (MaskGIT, Chang et al. 2022)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from ofacore.protocols import MASK, Options, TokenSegment


class MaskedCodes:
    """``masked_codes``: a share of the codes is hidden, cos(pi u / 2) for a random u, and predicted where it stands.

    Of codes that carry no loss none is hidden.
    """

    shift: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        pass

    def __call__(self, segment: TokenSegment, rng: np.random.Generator) -> TokenSegment:
        """At least one code is hidden; later segments see all of them."""
        learned = np.ones(len(segment.ids), bool) if segment.weights is None else segment.weights
        places = np.flatnonzero(learned)
        share = np.cos(np.pi / 2 * rng.random())
        count = min(len(places), max(1, round(float(share) * len(places))))
        hidden = np.zeros(len(segment.ids), bool)
        hidden[rng.permutation(places)[:count]] = True
        read = segment.ids if segment.inputs is None else segment.inputs
        return replace(
            segment,
            inputs=np.where(hidden, MASK, read),
            weights=hidden,
            shift=False,
            open=False,
        )
