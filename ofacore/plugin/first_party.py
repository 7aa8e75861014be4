"""Where the first-party slot types come from: data for hints in error messages, and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SLOT_DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "BOX": "ofa-modality-box",
        "IMAGE": "ofa-modality-image",
        "MOTION": "ofa-modality-motion",
        "TEXT": "ofa-modality-text",
    }
)
PLAIN_TEXT_DISTRIBUTION = "ofa-modality-text"
CORE_DISTRIBUTION = "ofacore"
