"""Where the first-party slot types come from: data for hints in error messages, and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SLOT_DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "AUDIO": "ofa-modality-speech",
        "BOX": "ofa-modality-box",
        "IMAGE": "ofa-modality-image",
        "MOTION": "ofa-modality-motion",
        "PHONE": "ofa-modality-speech",
        "STRUCT": "ofa-modality-structured",
        "TEXT": "ofa-modality-text",
        "VIDEO": "ofa-modality-video",
    }
)
PLAIN_TEXT_DISTRIBUTION = "ofa-modality-text"
CORE_DISTRIBUTION = "ofacore"
