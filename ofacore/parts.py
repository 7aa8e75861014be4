"""Public building blocks for plugins. Names are imported at first use, so that manifests stay light.

Tokens, heads and criteria of the model; grids; search; transforms of columns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofacore.components.grids.grid_error import GridError
    from ofacore.components.grids.grid_model import GridAdapter, GridHead
    from ofacore.components.grids.grid_values import GridPreprocessor
    from ofacore.components.grids.modality import IsGrid, grid_modality
    from ofacore.components.head_shares import keep_part, own_heads, to_parts
    from ofacore.components.pretrained import PretrainedError, pretrained, quiet_transformers
    from ofacore.components.published import AskedValues, PlaneView
    from ofacore.components.row_numbers import normal_rows, row_generators, uniform_rows
    from ofacore.components.tokens.cross_entropy import CrossEntropy, LabelError
    from ofacore.components.tokens.fused_cross_entropy import linear_cross_entropy
    from ofacore.components.tokens.named_tokens import TokensPreprocessor
    from ofacore.components.tokens.search_options import SEARCH_OPTIONS, check_search
    from ofacore.components.tokens.stepping import begin_run, feed_tokens
    from ofacore.components.tokens.token_generator import TokenGenerator
    from ofacore.components.tokens.token_model import TokenAdapter, TokenHead, TokenPrediction
    from ofacore.components.tokens.trie import Trie, TrieNode
    from ofacore.components.transforms import (
        first_reference,
        join_blanks,
        lower,
        replace_underscores,
        spaced,
        split_references,
        strip_punctuation,
        truncate_words,
        unspaced,
    )
    from ofacore.components.vectors.contrastive import Contrastive
    from ofacore.components.vectors.guidance import led_away, unconditional_twin
    from ofacore.components.vectors.pooling import EmbeddingHead
    from ofacore.components.vectors.regression import OneShotGenerator, SquaredError, ValuesHead
    from ofacore.components.vectors.retrieval import Recall
    from ofacore.components.vectors.values import ValuesPreprocessor
    from ofacore.model.backbone.position_kinds import kinds_in, positions_of_kind
    from ofacore.model.backbone.sequences import (
        PaddedSequences,
        pad_sequences,
        read_sequences,
        seen_positions,
    )
    from ofacore.model.backbone.uncached import UncachedDecoder
    from ofacore.parallel.host_transfer import item_numbers, numbers_on, to_device
    from ofacore.parallel.sync_batch_norm import SyncBatchNorm, synchronised

__all__ = [
    "SEARCH_OPTIONS",
    "AskedValues",
    "Contrastive",
    "CrossEntropy",
    "EmbeddingHead",
    "GridAdapter",
    "GridError",
    "GridHead",
    "GridPreprocessor",
    "IsGrid",
    "LabelError",
    "OneShotGenerator",
    "PaddedSequences",
    "PlaneView",
    "Recall",
    "SquaredError",
    "SyncBatchNorm",
    "TokenAdapter",
    "TokenGenerator",
    "TokenHead",
    "TokenPrediction",
    "TokensPreprocessor",
    "Trie",
    "TrieNode",
    "UncachedDecoder",
    "ValuesHead",
    "ValuesPreprocessor",
    "begin_run",
    "check_search",
    "feed_tokens",
    "first_reference",
    "grid_modality",
    "item_numbers",
    "keep_part",
    "kinds_in",
    "join_blanks",
    "led_away",
    "linear_cross_entropy",
    "lower",
    "normal_rows",
    "numbers_on",
    "own_heads",
    "pad_sequences",
    "positions_of_kind",
    "PretrainedError",
    "pretrained",
    "quiet_transformers",
    "read_sequences",
    "replace_underscores",
    "row_generators",
    "spaced",
    "seen_positions",
    "split_references",
    "strip_punctuation",
    "synchronised",
    "to_device",
    "to_parts",
    "truncate_words",
    "unconditional_twin",
    "uniform_rows",
    "unspaced",
]

_HOMES = {
    "SEARCH_OPTIONS": "ofacore.components.tokens.search_options",
    "AskedValues": "ofacore.components.published",
    "Contrastive": "ofacore.components.vectors.contrastive",
    "CrossEntropy": "ofacore.components.tokens.cross_entropy",
    "EmbeddingHead": "ofacore.components.vectors.pooling",
    "GridAdapter": "ofacore.components.grids.grid_model",
    "GridError": "ofacore.components.grids.grid_error",
    "GridHead": "ofacore.components.grids.grid_model",
    "GridPreprocessor": "ofacore.components.grids.grid_values",
    "IsGrid": "ofacore.components.grids.modality",
    "LabelError": "ofacore.components.tokens.cross_entropy",
    "OneShotGenerator": "ofacore.components.vectors.regression",
    "PaddedSequences": "ofacore.model.backbone.sequences",
    "PlaneView": "ofacore.components.published",
    "Recall": "ofacore.components.vectors.retrieval",
    "SquaredError": "ofacore.components.vectors.regression",
    "SyncBatchNorm": "ofacore.parallel.sync_batch_norm",
    "TokenAdapter": "ofacore.components.tokens.token_model",
    "TokenGenerator": "ofacore.components.tokens.token_generator",
    "TokenHead": "ofacore.components.tokens.token_model",
    "TokenPrediction": "ofacore.components.tokens.token_model",
    "TokensPreprocessor": "ofacore.components.tokens.named_tokens",
    "Trie": "ofacore.components.tokens.trie",
    "TrieNode": "ofacore.components.tokens.trie",
    "UncachedDecoder": "ofacore.model.backbone.uncached",
    "ValuesHead": "ofacore.components.vectors.regression",
    "ValuesPreprocessor": "ofacore.components.vectors.values",
    "begin_run": "ofacore.components.tokens.stepping",
    "check_search": "ofacore.components.tokens.search_options",
    "feed_tokens": "ofacore.components.tokens.stepping",
    "first_reference": "ofacore.components.transforms",
    "grid_modality": "ofacore.components.grids.modality",
    "item_numbers": "ofacore.parallel.host_transfer",
    "keep_part": "ofacore.components.head_shares",
    "kinds_in": "ofacore.model.backbone.position_kinds",
    "join_blanks": "ofacore.components.transforms",
    "led_away": "ofacore.components.vectors.guidance",
    "linear_cross_entropy": "ofacore.components.tokens.fused_cross_entropy",
    "lower": "ofacore.components.transforms",
    "normal_rows": "ofacore.components.row_numbers",
    "numbers_on": "ofacore.parallel.host_transfer",
    "own_heads": "ofacore.components.head_shares",
    "pad_sequences": "ofacore.model.backbone.sequences",
    "positions_of_kind": "ofacore.model.backbone.position_kinds",
    "PretrainedError": "ofacore.components.pretrained",
    "pretrained": "ofacore.components.pretrained",
    "quiet_transformers": "ofacore.components.pretrained",
    "read_sequences": "ofacore.model.backbone.sequences",
    "replace_underscores": "ofacore.components.transforms",
    "row_generators": "ofacore.components.row_numbers",
    "spaced": "ofacore.components.transforms",
    "seen_positions": "ofacore.model.backbone.sequences",
    "split_references": "ofacore.components.transforms",
    "strip_punctuation": "ofacore.components.transforms",
    "synchronised": "ofacore.parallel.sync_batch_norm",
    "to_device": "ofacore.parallel.host_transfer",
    "to_parts": "ofacore.components.head_shares",
    "truncate_words": "ofacore.components.transforms",
    "unconditional_twin": "ofacore.components.vectors.guidance",
    "uniform_rows": "ofacore.components.row_numbers",
    "unspaced": "ofacore.components.transforms",
}


def home_of(name: str) -> str:
    """The module that a public name lives in, imported when the name is first used; empty for an unknown name."""
    return _HOMES.get(name, "")


def __getattr__(name: str) -> Any:
    home = home_of(name)
    if not home:
        raise AttributeError(f"module 'ofacore.parts' has no attribute '{name}'")
    return getattr(import_module(home), name)
