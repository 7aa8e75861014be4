"""Public building blocks for plugins. Names are imported at first use, so that manifests and starter data stay light.

Tokens, heads and criteria of the model; transforms of columns; starter data: fetched, split by one rule, prepared once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofacore.parts.contrastive import Contrastive
    from ofacore.parts.cross_entropy import CrossEntropy, LabelError
    from ofacore.parts.fused_cross_entropy import linear_cross_entropy
    from ofacore.parts.grid import IsGrid, grid_modality
    from ofacore.parts.grid_error import GridError
    from ofacore.parts.grid_model import GridAdapter, GridHead
    from ofacore.parts.grid_values import GridPreprocessor
    from ofacore.parts.head_shares import keep_part, own_heads, to_parts
    from ofacore.parts.pooling import EmbeddingHead
    from ofacore.parts.position_kinds import kinds_in, positions_of_kind
    from ofacore.parts.published import AskedValues, PlaneView
    from ofacore.parts.regression import OneShotGenerator, SquaredError, ValuesHead
    from ofacore.parts.retrieval import Recall
    from ofacore.parts.search_options import SEARCH_OPTIONS, check_search
    from ofacore.parts.sequences import PaddedSequences, pad_sequences, read_sequences, seen_positions
    from ofacore.parts.starter.baselines import copy, majority
    from ofacore.parts.starter.fetch import FetchError, PackageSource, fetch, is_fetched
    from ofacore.parts.starter.prepared import load_splits, prepared, save_splits
    from ofacore.parts.starter.splits import SPLITS, Row, Split, Splits, capped, empty_splits, pick, split_of, text_id
    from ofacore.parts.stepping import begin_run, feed_tokens
    from ofacore.parts.sync_batch_norm import SyncBatchNorm, synchronised
    from ofacore.parts.token import TokenAdapter, TokenHead, TokenPrediction
    from ofacore.parts.token_generator import TokenGenerator
    from ofacore.parts.tokens import TokensPreprocessor
    from ofacore.parts.transfer import item_numbers, numbers_on, to_device
    from ofacore.parts.transforms import (
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
    from ofacore.parts.trie import Trie, TrieNode
    from ofacore.parts.uncached import UncachedDecoder
    from ofacore.parts.values import ValuesPreprocessor

__all__ = [
    "SEARCH_OPTIONS",
    "SPLITS",
    "AskedValues",
    "Contrastive",
    "CrossEntropy",
    "EmbeddingHead",
    "FetchError",
    "GridAdapter",
    "GridError",
    "GridHead",
    "GridPreprocessor",
    "IsGrid",
    "LabelError",
    "OneShotGenerator",
    "PackageSource",
    "PaddedSequences",
    "PlaneView",
    "Row",
    "Split",
    "Splits",
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
    "capped",
    "check_search",
    "copy",
    "empty_splits",
    "feed_tokens",
    "fetch",
    "first_reference",
    "grid_modality",
    "is_fetched",
    "item_numbers",
    "keep_part",
    "kinds_in",
    "join_blanks",
    "linear_cross_entropy",
    "load_splits",
    "lower",
    "majority",
    "numbers_on",
    "own_heads",
    "pad_sequences",
    "pick",
    "positions_of_kind",
    "prepared",
    "read_sequences",
    "replace_underscores",
    "save_splits",
    "spaced",
    "seen_positions",
    "split_of",
    "split_references",
    "strip_punctuation",
    "synchronised",
    "text_id",
    "to_device",
    "to_parts",
    "truncate_words",
    "unspaced",
]

_HOMES = {
    "SEARCH_OPTIONS": "search_options",
    "SPLITS": "starter.splits",
    "AskedValues": "published",
    "Contrastive": "contrastive",
    "CrossEntropy": "cross_entropy",
    "EmbeddingHead": "pooling",
    "FetchError": "starter.fetch",
    "GridAdapter": "grid_model",
    "GridError": "grid_error",
    "GridHead": "grid_model",
    "GridPreprocessor": "grid_values",
    "IsGrid": "grid",
    "LabelError": "cross_entropy",
    "OneShotGenerator": "regression",
    "PackageSource": "starter.fetch",
    "PaddedSequences": "sequences",
    "PlaneView": "published",
    "Row": "starter.splits",
    "Split": "starter.splits",
    "Splits": "starter.splits",
    "Recall": "retrieval",
    "SquaredError": "regression",
    "SyncBatchNorm": "sync_batch_norm",
    "TokenAdapter": "token",
    "TokenGenerator": "token_generator",
    "TokenHead": "token",
    "TokenPrediction": "token",
    "TokensPreprocessor": "tokens",
    "Trie": "trie",
    "TrieNode": "trie",
    "UncachedDecoder": "uncached",
    "ValuesHead": "regression",
    "ValuesPreprocessor": "values",
    "begin_run": "stepping",
    "capped": "starter.splits",
    "check_search": "search_options",
    "copy": "starter.baselines",
    "empty_splits": "starter.splits",
    "feed_tokens": "stepping",
    "fetch": "starter.fetch",
    "first_reference": "transforms",
    "grid_modality": "grid",
    "is_fetched": "starter.fetch",
    "item_numbers": "transfer",
    "keep_part": "head_shares",
    "kinds_in": "position_kinds",
    "join_blanks": "transforms",
    "linear_cross_entropy": "fused_cross_entropy",
    "load_splits": "starter.prepared",
    "lower": "transforms",
    "majority": "starter.baselines",
    "numbers_on": "transfer",
    "own_heads": "head_shares",
    "pad_sequences": "sequences",
    "pick": "starter.splits",
    "positions_of_kind": "position_kinds",
    "prepared": "starter.prepared",
    "read_sequences": "sequences",
    "replace_underscores": "transforms",
    "save_splits": "starter.prepared",
    "spaced": "transforms",
    "seen_positions": "sequences",
    "split_of": "starter.splits",
    "split_references": "transforms",
    "strip_punctuation": "transforms",
    "synchronised": "sync_batch_norm",
    "text_id": "starter.splits",
    "to_device": "transfer",
    "to_parts": "head_shares",
    "truncate_words": "transforms",
    "unspaced": "transforms",
}


def home_of(name: str) -> str:
    """The module that a public name lives in, imported when the name is first used; empty for an unknown name."""
    return f"ofacore.parts.{_HOMES[name]}" if name in _HOMES else ""


def __getattr__(name: str) -> Any:
    home = home_of(name)
    if not home:
        raise AttributeError(f"module 'ofacore.parts' has no attribute '{name}'")
    return getattr(import_module(home), name)
