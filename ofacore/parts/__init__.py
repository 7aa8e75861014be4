"""Public building blocks for plugins. Names are imported at first use, so that manifests stay light."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofacore.parts.contrastive import Contrastive
    from ofacore.parts.cross_entropy import CrossEntropy, LabelError
    from ofacore.parts.fused_cross_entropy import linear_cross_entropy
    from ofacore.parts.pooling import EmbeddingHead
    from ofacore.parts.stepping import feed_tokens
    from ofacore.parts.token import TokenAdapter, TokenHead, TokenPrediction
    from ofacore.parts.token_generator import TokenGenerator
    from ofacore.parts.trie import Trie

__all__ = [
    "Contrastive",
    "CrossEntropy",
    "EmbeddingHead",
    "LabelError",
    "TokenAdapter",
    "TokenHead",
    "TokenPrediction",
    "TokenGenerator",
    "feed_tokens",
    "Trie",
    "linear_cross_entropy",
]

_HOMES = {
    "Contrastive": "contrastive",
    "CrossEntropy": "cross_entropy",
    "EmbeddingHead": "pooling",
    "LabelError": "cross_entropy",
    "TokenAdapter": "token",
    "TokenHead": "token",
    "TokenPrediction": "token",
    "TokenGenerator": "token_generator",
    "Trie": "trie",
    "feed_tokens": "stepping",
    "linear_cross_entropy": "fused_cross_entropy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ofacore.parts' has no attribute '{name}'")
    return getattr(import_module(f"ofacore.parts.{_HOMES[name]}"), name)
